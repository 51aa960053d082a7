//! What the audit's events add up to, and what is asked of that.

mod answers;
mod counting;
mod plans;
mod trying;

use crate::harness::Server;

/// Counts what this server's database has, as its task does from time to time.
pub(crate) async fn counted(server: &Server) {
    server.app.statistics().once().await.unwrap();
}
