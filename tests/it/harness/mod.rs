//! Servers, databases and raw HTTP for the tests.

mod answer;
mod api;
mod browser;
mod database;
mod pki;
mod port;
mod process;
mod proxy;
mod recorded;
mod replica;
mod server;
#[cfg(feature = "pkcs11")]
pub(crate) mod softhsm;
mod waiting;

pub(crate) use answer::Answer;
pub(crate) use api::{Api, DESCRIBED, encoded};
pub(crate) use browser::{Browser, PASSWORD, Person, code, codes, field};
pub(crate) use database::{Database, Engine, Held};
pub(crate) use pki::{Authority, Issued, tls_answer, tls_client};
pub(crate) use port::free_port;
pub(crate) use process::{Process, command, jeton, run};
pub(crate) use proxy::{Proxy, Way};
pub(crate) use recorded::Recorded;
pub(crate) use replica::{Replica, both_replicas, issue, refusal, token};
pub(crate) use server::{Client, START, Server, basic};
pub(crate) use waiting::{http, within_a_second};

/// Runs tests of the form `async fn(server: Server)` on both engines. A test that is not named here is
/// dead code, which the lints refuse.
macro_rules! both_engines {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::harness::{Engine, Server};

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                super::$test(Server::start(Engine::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                super::$test(Server::start(Engine::Postgres).await).await;
            }
        })+
    };
}
pub(crate) use both_engines;
