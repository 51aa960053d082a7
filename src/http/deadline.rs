//! How long the API and the pages take for an answer. While the database hangs, whoever has asked hears that, and does
//! not wait until it is back; and a server that stops does not wait for them.

use std::pin::pin;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::domain::error::Fault;

/// How long an answer may take. The ledger ends its chain within five seconds after the last one, and both together are
/// less than `server.shutdown_deadline` usually is.
const PATIENCE: Duration = Duration::from_secs(8);

/// The same where others are waited for: issuers, a provider, a PKCS#11 token that makes a key.
const ASKING_OTHERS: Duration = Duration::from_secs(30);

/// By when a request is answered. Every request to the API and the pages has it as an extension.
#[derive(Clone)]
pub(super) struct Deadline(watch::Sender<Instant>);

// === impl Deadline ===

impl Deadline {
    /// Waits for what is the caller's own doing, `most` at the longest: that time does not count.
    pub(super) async fn besides<T>(&self, most: Duration, arriving: impl Future<Output = T>) -> T {
        let (end, begun) = (*self.0.borrow(), Instant::now());
        self.0.send_replace(end + most);
        let done = arriving.await;
        self.0.send_replace(end + begun.elapsed());
        done
    }
}

/// What the handler answers, if it does in time.
///
/// # Errors
/// It does not. It ends where it is then: like one whose caller has gone.
pub(super) async fn in_time(mut request: Request, next: Next) -> Result<Response, Fault> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let (sender, mut end) = watch::channel(Instant::now() + PATIENCE);
    request.extensions_mut().insert(Deadline(sender.clone()));
    let mut answer = pin!(next.run(request));
    loop {
        let until = *end.borrow_and_update();
        tokio::select! {
            response = &mut answer => return Ok(response),
            // It cannot be closed, for one sender is here.
            _ = end.changed() => {}
            () = sleep_until(until) => {
                drop(sender);
                let what = "there was no answer in time";
                return Err(if reads { Fault::unavailable(what) } else { Fault::uncertain(what) });
            }
        }
    }
}

/// Around handlers that ask others than the database.
pub(super) async fn asks_others(request: Request, next: Next) -> Response {
    if let Some(Deadline(end)) = request.extensions().get() {
        end.send_modify(|end| *end += ASKING_OTHERS.saturating_sub(PATIENCE));
    }
    next.run(request).await
}
