//! A Chromium window: what a person does in it, and what is looked at on every page.

use std::cell::Cell;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::FutureExt;
use serde_json::{Value, json};
use thirtyfour::prelude::*;
use thirtyfour::{LoggingPrefsLogLevel, WebDriver};

use crate::harness::Server;

/// How long a page may take before the test fails, and how often it is looked at until then.
const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(20);

/// Where the pictures of a run stay.
const ARTIFACTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/artifacts/browser");

/// Installed by `tests/interop/run install`.
const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/node/node_modules/axe-core/axe.min.js");

/// What a person has in front of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device {
    /// What pictures of it are called.
    pub(super) name: &'static str,
    /// In CSS pixels.
    pub(super) width: u32,
    pub(super) dark: bool,
}

pub(super) const DESK: Device = Device { name: "1280-light", width: 1280, dark: false };
pub(super) const DESK_AT_NIGHT: Device = Device { name: "1280-dark", width: 1280, dark: true };
pub(super) const PHONE: Device = Device { name: "360-light", width: 360, dark: false };
pub(super) const PHONE_AT_NIGHT: Device = Device { name: "360-dark", width: 360, dark: true };

/// What axe-core looks at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rules {
    All,
    Colours,
}

pub(super) struct Window {
    pub(super) driver: WebDriver,
    /// What the server calls itself.
    base: String,
    device: Cell<Device>,
    artifacts: PathBuf,
    pictures: Cell<usize>,
    axe: String,
}

/// Runs a test in a Chromium of its own. One that fails leaves a picture and the source of the page that it was on.
pub(super) async fn browsing(name: &str, server: &Server, device: Device, test: impl AsyncFnOnce(&Window)) {
    let window = Window::open(name, server, device).await;
    let outcome = AssertUnwindSafe(test(&window)).catch_unwind().await;
    if outcome.is_err() {
        window.photograph("failed").await;
        let source = window.driver.source().await.unwrap_or_else(|error| error.to_string());
        fs::write(window.artifacts.join("failed.html"), source).unwrap();
        eprintln!("the page as it was then: {}/failed.*", window.artifacts.display());
    }
    let ended = window.driver.quit().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    ended.unwrap();
}

impl Window {
    async fn open(name: &str, server: &Server, device: Device) -> Self {
        let chromedriver = std::env::var("JETON_TEST_CHROMEDRIVER_URL").expect(
            "JETON_TEST_CHROMEDRIVER_URL is not set: run scripts/test, or scripts/with-browser cargo test",
        );
        let axe = fs::read_to_string(AXE)
            .unwrap_or_else(|error| panic!("{AXE}: {error}: run tests/interop/run install"));
        let artifacts = Path::new(ARTIFACTS).join(name);
        // What an earlier run has left would be taken for this one's.
        let _ = fs::remove_dir_all(&artifacts);
        fs::create_dir_all(&artifacts).unwrap();

        let mut wanted = DesiredCapabilities::chrome();
        for argument in [
            "--headless",
            // Chromium refuses to run as root with one, and root is who runs tests in a container.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
        ] {
            wanted.add_arg(argument).unwrap();
        }
        wanted.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        let driver = WebDriver::new(chromedriver, wanted).await.unwrap();
        let base = server.app.issuer().to_owned();
        let copies =
            json!({ "origin": base, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
        driver.cdp().send_raw("Browser.grantPermissions", copies).await.unwrap();
        driver
            .cdp()
            .send_raw("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }))
            .await
            .unwrap();
        let (pictures, turned) = (Cell::new(0), Cell::new(device));
        let window = Self { driver, base, device: turned, artifacts, pictures, axe };
        window.turn_into(device).await;
        window
    }

    /// Shows the same page on another device.
    pub(super) async fn turn_into(&self, device: Device) {
        self.device.set(device);
        let size = json!({ "width": device.width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        let scheme = if device.dark { "dark" } else { "light" };
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            // What moves is not looked at halfway.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        let cdp = self.driver.cdp();
        cdp.send_raw("Emulation.setDeviceMetricsOverride", size).await.unwrap();
        cdp.send_raw("Emulation.setEmulatedMedia", media).await.unwrap();
    }

    // === What a person does ===

    /// Opens a page by its path below `/admin`, or a whole address.
    pub(super) async fn open_page(&self, path: &str) {
        let address =
            if path.starts_with("http") { path.to_owned() } else { format!("{}/admin{path}", self.base) };
        self.driver.goto(address).await.unwrap();
    }

    /// Signs in with the `Cookie` header that [`Server::signed_in`] gives.
    pub(super) async fn take_cookie(&self, header: &str) {
        self.open_page("/sign-in").await;
        let (name, value) = header.strip_prefix("Cookie: ").unwrap().split_once('=').unwrap();
        self.driver.add_cookie(Cookie::new(name, value)).await.unwrap();
    }

    /// The first element that a selector finds, when it is there.
    pub(super) async fn find(&self, css: &str) -> WebElement {
        self.wait(By::Css(css), css).await
    }

    async fn wait(&self, by: By, what: &str) -> WebElement {
        match self.driver.query(by).wait(PATIENCE, GLANCE).first().await {
            Ok(element) => element,
            Err(error) => {
                let address = self.driver.current_url().await.unwrap();
                panic!("{what} does not come at {address}: {error}")
            }
        }
    }

    /// Waits for the page with this heading.
    pub(super) async fn is_on(&self, heading: &str) {
        let path = format!("//h1[normalize-space()={}]", quoted(heading));
        self.wait(By::XPath(path), heading).await;
    }

    /// Waits until the page says this somewhere.
    pub(super) async fn reads(&self, text: &str) {
        let path = format!("//body//*[contains(normalize-space(), {})]", quoted(text));
        self.wait(By::XPath(path), text).await;
    }

    /// Waits until something is no longer in the page.
    pub(super) async fn has_no(&self, css: &str) {
        let query = self.driver.query(By::Css(css)).wait(PATIENCE, GLANCE);
        assert!(query.not_exists().await.unwrap(), "{css} is still there");
    }

    pub(super) async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.unwrap()
    }

    /// Presses the button, link or summary whose text begins with this.
    pub(super) async fn press(&self, text: &str) {
        let named = format!("starts-with(normalize-space(), {})", quoted(text));
        let path = format!("//*[(self::button or self::a or self::summary or @role='button') and {named}]");
        self.click(&self.wait(By::XPath(path), text).await).await;
    }

    /// Clicks when the page stands still: on a busy machine Chromium hits what was there before it has scrolled.
    pub(super) async fn click(&self, element: &WebElement) {
        let there = vec![element.to_json().unwrap()];
        self.driver.execute("arguments[0].scrollIntoView({ block: 'center' })", there).await.unwrap();
        self.driver.execute_async(TWO_FRAMES, Vec::new()).await.unwrap();
        element.click().await.unwrap();
    }

    /// Types into a field, over what stood there.
    pub(super) async fn fill(&self, name: &str, text: &str) {
        let field = self.find(&format!("[name='{name}']:not([type=hidden])")).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Chooses of a list.
    pub(super) async fn choose(&self, name: &str, value: &str) {
        self.find(&format!("select[name='{name}'] option[value='{value}']")).await.click().await.unwrap();
    }

    /// Ticks a box, or takes the tick away.
    pub(super) async fn tick(&self, name: &str, value: &str) {
        self.click(&self.find(&format!("input[name='{name}'][value='{value}']")).await).await;
    }

    /// What was copied last.
    pub(super) async fn copied(&self) -> String {
        let script = "navigator.clipboard.readText().then(arguments[0], (e) => arguments[0]('no: ' + e))";
        let found = self.driver.execute_async(script, Vec::new()).await.unwrap();
        found.json().as_str().unwrap().to_owned()
    }

    /// Runs a script on the page, with the elements or values that it takes, and answers what it returns.
    pub(super) async fn ask(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    // === What is looked at ===

    /// A picture of the page stays in the run's artifacts, and everything that must hold for every page does.
    pub(super) async fn look(&self, what: &str) {
        self.photograph(what).await;
        let faults = self.faults(what, Rules::All).await;
        assert!(faults.is_empty(), "{faults:#?}");
    }

    /// What is wrong with this page, whatever it is for: wider than the window, something that Chromium complains of,
    /// or that axe-core finds.
    pub(super) async fn faults(&self, what: &str, rules: Rules) -> Vec<String> {
        let here = format!("{what}, {}", self.device.get().name);
        let mut faults: Vec<String> = serde_json::from_value(self.ask(SCROLLS).await).unwrap();
        faults.extend(self.complaints().await);
        faults.extend(self.violations(rules).await);
        faults.into_iter().map(|fault| format!("{here}: {fault}")).collect()
    }

    /// What Chromium has logged since the last time: errors of scripts, what the policy forbids, what is not there.
    /// Pages may be refusals; whatever they are made of may not. What others' pages do is theirs.
    async fn complaints(&self) -> Vec<String> {
        let log = self.driver.browser_log().await.unwrap();
        log.into_iter()
            .filter(|entry| !entry.message.starts_with("http") || entry.message.starts_with(&self.base))
            .filter(|entry| entry.source.as_deref() != Some("network") || entry.message.contains("/assets/"))
            .map(|entry| format!("{} {}", entry.level, entry.message))
            .collect()
    }

    /// What axe-core finds against WCAG 2.1 A and AA.
    async fn violations(&self, rules: Rules) -> Vec<String> {
        if self.ask("return typeof window.axe").await != json!("object") {
            self.ask(&self.axe).await;
        }
        let only = match rules {
            Rules::All => json!({ "type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }),
            Rules::Colours => json!({ "type": "rule", "values": ["color-contrast", "link-in-text-block"] }),
        };
        let found = self.driver.execute_async(RUN_AXE, vec![only]).await.unwrap();
        let found: Vec<String> = serde_json::from_value(found.json().clone()).unwrap();
        found
    }

    /// Keeps a picture of the whole page.
    pub(super) async fn photograph(&self, what: &str) {
        let number = self.pictures.get() + 1;
        self.pictures.set(number);
        let name = if what == "failed" { "failed.png".to_owned() } else { format!("{number:02}-{what}.png") };
        let taken = self
            .driver
            .cdp()
            .send_raw(
                "Page.captureScreenshot",
                json!({ "captureBeyondViewport": true, "clip": self.whole().await }),
            )
            .await
            .unwrap();
        // It was laid out for the picture; a click before it is laid out again for the window would miss.
        self.driver.execute_async(TWO_FRAMES, Vec::new()).await.unwrap();
        fs::write(self.artifacts.join(name), BASE64.decode(taken["data"].as_str().unwrap()).unwrap())
            .unwrap();
    }

    async fn whole(&self) -> Value {
        let height = self.ask("return document.documentElement.scrollHeight").await;
        json!({ "x": 0, "y": 0, "width": self.device.get().width, "height": height, "scale": 1 })
    }
}

/// A text in an expression of `XPath`, which has no escapes.
fn quoted(text: &str) -> String {
    assert!(!text.contains('"'), "{text}");
    format!("\"{text}\"")
}

/// The elements that reach out of the window, unless what holds them scrolls by itself.
const SCROLLS: &str = r"
    const root = document.documentElement;
    if (root.scrollWidth <= root.clientWidth) return [];
    return [...document.querySelectorAll('main *, header *')]
        .filter((element) => element.getBoundingClientRect().right > root.clientWidth && !element.closest('.scroll, .picture-frame, pre'))
        .map((element) => element.outerHTML.slice(0, 200)).concat(`the page is ${root.scrollWidth} px wide`);
";

const TWO_FRAMES: &str = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))";

const RUN_AXE: &str = r"
    const done = arguments[arguments.length - 1];
    axe.run(document, { runOnly: arguments[0], resultTypes: ['violations'] })
        .then((found) => done(found.violations.flatMap((rule) => rule.nodes.map((node) =>
            `${rule.id}: ${node.target.join(' ')} ${node.html.slice(0, 200)}: ${node.failureSummary}`))))
        .catch((error) => done([`axe-core: ${error}`]));
";
