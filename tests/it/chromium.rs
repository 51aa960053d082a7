//! The pages in a real Chromium, driven through chromedriver (`scripts/with-browser`): what administrators do, on a
//! desk and on a phone, and what must hold for every page. Pictures stay in `target/artifacts/browser`.

mod every_page;
mod keyboard;
mod single_sign_on;
mod window;
mod work;

use std::net::SocketAddr;

use jeton::config::Issuer;

use crate::harness::{Engine, Server, free_port};

/// A server that is called what it is reached by: a browser follows where it leads.
async fn server() -> Server {
    let port = free_port();
    Server::start_with(Engine::Sqlite, |config| {
        config.listen = SocketAddr::from(([127, 0, 0, 1], port));
        config.issuer = Some(Issuer::parse(&format!("http://127.0.0.1:{port}")).unwrap());
    })
    .await
}
