//! A real browser, driven over WebDriver. What the test needs of that protocol is a dozen requests of JSON over HTTP; the client crates
//! that are kept up bring 70 to 90 crates for them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the driver may take to begin, and to take a connection.
const BEGINS: Duration = Duration::from_secs(30);

/// Chromium without a window, and with a profile of its own, which are gone with this value.
pub(crate) struct Browser {
    _driver: Driver,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver");
        driver.arg("--port=0").stdout(Stdio::piped()).process_group(0);
        let mut driver = Driver(driver.spawn().unwrap_or_else(|error| {
            panic!("chromedriver cannot be started ({error}): apt-get install chromium chromium-driver")
        }));
        let lines = BufReader::new(driver.0.stdout.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        // It is read to its end, so that it never waits for a reader.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let port = line.split_once("started successfully on port ");
                if let Some(Ok(port)) = port.map(|(_, port)| port.trim_end_matches('.').parse()) {
                    let _ = tell.send(port);
                }
            }
        });
        let port = told.recv_timeout(BEGINS).expect("chromedriver names its port");
        let mut browser = Self { _driver: driver, port, session: String::new(), _profile: profile };
        let data = format!("--user-data-dir={}", browser._profile.path().display());
        let mut arguments = vec![data];
        arguments.extend(
            [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
            ]
            .map(String::from),
        );
        let options = json!({ "binary": "/usr/bin/chromium", "args": arguments });
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let session = browser.ask("POST", "/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    /// Opens a file.
    pub(crate) fn open(&self, file: &Path) {
        self.post("/url", json!({ "url": format!("file://{}", file.display()) }));
    }

    pub(crate) fn title(&self) -> String {
        self.ask("GET", &format!("{}/title", self.session), &Value::Null).as_str().unwrap().into()
    }

    /// Returns the text that is seen of the first element that a CSS selector finds.
    pub(crate) fn text(&self, selector: &str) -> String {
        let place = format!("{}/element/{}/text", self.session, self.element(selector));
        self.ask("GET", &place, &Value::Null).as_str().unwrap().into()
    }

    pub(crate) fn click(&self, selector: &str) {
        self.post(&format!("/element/{}/click", self.element(selector)), json!({}));
    }

    /// Presses a key where the focus is.
    pub(crate) fn press(&self, key: char) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.post("/actions", json!({ "actions": [{ "type": "key", "id": "keys", "actions": keys }] }));
    }

    /// Returns what a script in the page returns.
    pub(crate) fn look(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Lets the page believe that it is on a screen of this width, or with `print` on paper, of a person who likes it light or dark.
    pub(crate) fn show(&self, width: u32, scheme: &str, print: bool) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
        let media = if print { "print" } else { "screen" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "media": media, "features": features }));
    }

    /// Takes a picture of the whole page, as PNG in base64.
    pub(crate) fn picture(&self) -> String {
        let taken = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        taken["data"].as_str().unwrap().into()
    }

    /// Returns what the browser complains of: scripts, styles and pictures that the page's policy forbids, among others.
    pub(crate) fn complaints(&self) -> Value {
        self.post("/se/log", json!({ "type": "browser" }))
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("/element", json!({ "using": "css selector", "value": selector }));
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().into()
    }

    fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    fn post(&self, place: &str, body: Value) -> Value {
        self.ask("POST", &format!("{}{place}", self.session), &body)
    }

    fn ask(&self, method: &str, place: &str, body: &Value) -> Value {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let driver = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&driver, BEGINS).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "{method} {place} HTTP/1.1\r\nhost: localhost:{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        let value = answer["value"].take();
        assert!(value["error"].is_null(), "{method} {place}: {value}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", &self.session, &Value::Null);
        }
    }
}

/// The driver and all that it has started: they are a process group of their own, which ends with this value.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}
