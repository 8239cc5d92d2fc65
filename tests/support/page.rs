//! A page in a real browser, where Chromium is installed. Its developer tools are spoken to over a pipe:
//! <https://chromedevtools.github.io/devtools-protocol/>.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Directory, PATIENCE};

/// A page in a browser that nobody sees.
pub(crate) struct Page {
    browser: Child,
    commands: ChildStdin,
    events: BufReader<ChildStdout>,
    session: Option<String>,
    last_id: u64,
    /// What the page complained about.
    pub(crate) complaints: Vec<Value>,
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

impl Page {
    /// Opens a page; `None` if there is no Chromium.
    pub(crate) fn open(url: &str, profile: &Directory) -> Option<Self> {
        // The browser reads commands from descriptor 3 and writes events to descriptor 4.
        let started = Command::new("sh")
            .arg("-c")
            .arg("exec chromium \"$@\" 3<&0 4>&1")
            .args(["sh", "--headless=new", "--no-sandbox", "--disable-gpu"])
            .args(["--remote-debugging-pipe", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.0.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut browser = started.unwrap();
        let commands = browser.stdin.take().expect("piped");
        let events = browser.stdout.take().expect("piped");
        let mut page = Self {
            browser,
            commands,
            events: BufReader::new(events),
            session: None,
            last_id: 0,
            complaints: Vec::new(),
        };
        let target = page.call("Target.createTarget", &json!({"url": "about:blank"}))?;
        let id = &target["targetId"];
        let attached = json!({"targetId": id, "flatten": true});
        let attached = page.call("Target.attachToTarget", &attached)?;
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            page.call(domain, &json!({}))?;
        }
        page.call("Page.navigate", &json!({"url": url}))?;
        Some(page)
    }

    /// Calls a method and returns its result; `None` if the browser has ended.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Option<Value> {
        self.last_id += 1;
        let mut command = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        // A shell without Chromium ends at once.
        self.commands
            .write_all(command.to_string().as_bytes())
            .ok()?;
        self.commands.write_all(&[0]).ok()?;
        loop {
            let mut message = Vec::new();
            self.events.read_until(0, &mut message).ok()?;
            message.pop()?;
            let message: Value = serde_json::from_slice(&message).unwrap();
            let is_complaint = match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Runtime.consoleAPICalled") => message["params"]["type"] == "error",
                Some("Log.entryAdded") => message["params"]["entry"]["level"] == "error",
                _ => false,
            };
            if is_complaint {
                self.complaints.push(message);
            } else if message["id"] == self.last_id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return Some(message["result"].clone());
            }
        }
    }

    /// Returns the value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
        });
        let result = self.call("Runtime.evaluate", &parameters);
        let result = result.expect("the browser runs");
        assert!(result["exceptionDetails"].is_null(), "{result}");
        result["result"]["value"].clone()
    }

    /// Returns the text of an element.
    pub(crate) fn text(&mut self, id: &str) -> String {
        let text = self.value(&format!("document.getElementById({id:?}).textContent"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression in the page is true.
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let start = Instant::now();
        while self.value(&format!("Boolean({expression})")) != json!(true) {
            let page = self.value("document.body.innerText");
            assert!(start.elapsed() < PATIENCE, "never: {expression}\n{page}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Makes the window this wide, and saves a picture that people can look at. Its name begins with
    /// `name`.
    pub(crate) fn show(&mut self, name: &str, width: u32, scheme: &str) {
        let metrics = json!({
            "width": width, "height": 1_400, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
        let overflow = self.value("document.documentElement.scrollWidth - innerWidth");
        assert!(overflow.as_i64() <= Some(0), "{width}: {overflow} too wide");
        let picture = self.call("Page.captureScreenshot", &json!({})).unwrap();
        let picture = picture["data"].as_str().expect("a picture");
        assert!(picture.len() > 10_000);
        let decode = format!(
            "base64 -d > {}/{name}-{width}-{scheme}.png",
            env!("CARGO_TARGET_TMPDIR")
        );
        let mut base64 = Command::new("sh")
            .args(["-c", &decode])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        base64
            .stdin
            .take()
            .unwrap()
            .write_all(picture.as_bytes())
            .unwrap();
        assert!(base64.wait().unwrap().success());
    }
}
