use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long what changes on one replica may take to hold on all.
const SECOND: Duration = Duration::from_secs(1);

/// Asserts that this holds within a second. What is asked when that is over decides.
pub(crate) async fn within_a_second(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    loop {
        let is_over = begun.elapsed() > SECOND;
        if holds().await {
            return;
        }
        assert!(!is_over, "not within a second: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A client of HTTP at an address of its own, which waits for nobody else's refusals (decision 032).
pub(crate) fn http() -> reqwest::Client {
    let [_, rest @ ..] = rand::random::<[u8; 4]>();
    let address = Ipv4Addr::new(127, rest[0], rest[1], rest[2].clamp(2, 254));
    reqwest::Client::builder().local_address(std::net::IpAddr::from(address)).build().unwrap()
}
