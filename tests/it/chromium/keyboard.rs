//! Without a mouse.

use serde_json::{Value, json};
use thirtyfour::prelude::*;

use super::server;
use super::window::{DESK, PHONE, Window, browsing};

/// The fields and buttons of the form, in the order of the page; what is folded away is not reached.
const CONTROLS: &str = r"
    window.controls = [...document.querySelectorAll('form.form :is(input, select, textarea, button, summary, a)')]
        .filter((element) => element.type !== 'hidden' && element.checkVisibility());
    return window.controls.map((element) => element.name || element.textContent.trim());
";

/// What has the focus: its place among the controls, and whether one sees it. A focus that looks like none is lost.
const FOCUSED: &str = r"
    const element = document.activeElement;
    const look = (what) => { const s = getComputedStyle(what);
        return [s.outlineStyle, s.outlineWidth, s.boxShadow, s.borderColor, s.backgroundColor].join(' '); };
    const focused = look(element);
    element.blur();
    const other = look(element);
    element.focus({ focusVisible: true });
    const seen = element.getBoundingClientRect();
    return { place: window.controls.indexOf(element), differs: focused !== other,
        inside: seen.top >= 0 && seen.bottom <= innerHeight + 1, what: element.outerHTML.slice(0, 200) };
";

async fn key(window: &Window, text: impl Into<TypingData>) {
    window.driver.action_chain().send_keys(text).perform().await.unwrap();
}

/// Goes on by Tab until a field has the focus.
async fn tab_to(window: &Window, css: &str) {
    for _ in 0..60 {
        key(window, Key::Tab).await;
        let script = format!("return document.activeElement.matches(\"{css}\")");
        if window.ask(&script).await == json!(true) {
            return;
        }
    }
    panic!("Tab does not reach {css}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_registered_without_a_mouse() {
    let server = server().await;
    server.billing().await;
    let cookie = server.signed_in("ada", "administrator").await;
    browsing("keyboard", &server, DESK, async |window| {
        window.take_cookie(&cookie).await;
        for device in [PHONE, DESK] {
            window.turn_into(device).await;
            every_control_is_reached(window).await;
        }

        // From the navigation to the form, and through it.
        window.open_page("/clients").await;
        tab_to(window, "main [href$='/new-client']").await;
        key(window, Key::Enter).await;
        window.is_on("Register a client").await;
        tab_to(window, "[name=client_id]").await;
        key(window, "by-keyboard").await;
        tab_to(window, "[name=roles][value=order-reader]").await;
        key(window, " ").await;
        window.photograph("by-keyboard").await;
        key(window, Key::Enter).await;
        window.is_on("The secret of by-keyboard").await;
        tab_to(window, "[data-copy=secret]").await;
        key(window, Key::Enter).await;
        window.reads("Copied").await;
        assert_eq!(window.copied().await, window.text("#secret").await);
        window.look("the-secret").await;
    })
    .await;
}

/// Tab goes through the whole form in the order of the page, and one sees where it is.
async fn every_control_is_reached(window: &Window) {
    window.open_page("/new-client").await;
    // The first stop of every page leads past the navigation.
    key(window, Key::Tab).await;
    assert_eq!(window.text(":focus").await, "Skip to the content");
    key(window, Key::Enter).await;
    let controls: Vec<String> = serde_json::from_value(window.ask(CONTROLS).await).unwrap();
    assert!(controls.len() >= 10 && controls.iter().any(|name| name == "grant_types"), "{controls:?}");
    for (place, name) in controls.iter().enumerate() {
        key(window, Key::Tab).await;
        let focused: Value = window.ask(FOCUSED).await;
        let expected = json!({ "place": place, "differs": true, "inside": true, "what": focused["what"] });
        assert_eq!(focused, expected, "Tab to {name}");
    }
}
