//! The page of the admin port, in a real browser, where Chromium is installed. Its developer tools are
//! spoken to over a pipe: <https://chromedevtools.github.io/devtools-protocol/>.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use globalcounter::protocol::Op;
use serde_json::{Value, json};

use crate::access::new_token;
use crate::support::{Directory, Framed, PATIENCE, Process, SetOnDrop};

/// A page in a browser that nobody sees.
struct Page {
    browser: Child,
    commands: ChildStdin,
    events: BufReader<ChildStdout>,
    session: Option<String>,
    last_id: u64,
    /// What the page complained about.
    complaints: Vec<Value>,
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

impl Page {
    /// Opens a page; `None` if there is no Chromium.
    fn open(url: &str, profile: &Directory) -> Option<Self> {
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
    fn call(&mut self, method: &str, parameters: &Value) -> Option<Value> {
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
    fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
        });
        let result = self.call("Runtime.evaluate", &parameters);
        let result = result.expect("the browser runs");
        assert!(result["exceptionDetails"].is_null(), "{result}");
        result["result"]["value"].clone()
    }

    /// Returns the text of an element.
    fn text(&mut self, id: &str) -> String {
        let text = self.value(&format!("document.getElementById({id:?}).textContent"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression in the page is true.
    fn wait_for(&mut self, expression: &str) {
        let start = Instant::now();
        while self.value(&format!("Boolean({expression})")) != json!(true) {
            let page = self.value("document.body.innerText");
            assert!(start.elapsed() < PATIENCE, "never: {expression}\n{page}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Makes the window this wide, and saves a picture that people can look at.
    fn show(&mut self, width: u32, scheme: &str) {
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
            "base64 -d > {}/page-{width}-{scheme}.png",
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

/// Counts on two topics until told to stop, some thousand times a second.
fn count_until(stop: &AtomicBool, server: &Process) {
    let mut framed = Framed::connect(server.tcp);
    for i in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        framed.ask(
            Op::Count,
            ["shop/orders", "shop/visits", "shop/visits"][(i % 3) as usize],
        );
    }
}

#[test]
fn the_page_shows_what_happens() {
    let profile = Directory::new("page");
    let server = Process::with_admin(&["--shards", "2"]);
    let url = format!("http://{}/", server.admin.unwrap());
    let Some(mut page) = Page::open(&url, &profile) else {
        println!("chromium is not installed: the page is not tried");
        return;
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| count_until(&stop, &server));
        let _stop = SetOnDrop(&stop);

        page.wait_for("document.getElementById('state')?.textContent === 'ready'");
        page.wait_for("/[1-9].*\\/s$/.test(document.getElementById('requests').textContent)");
        page.wait_for("document.getElementById('latency').textContent.endsWith('s')");
        page.wait_for(&format!(
            "document.getElementById('about').textContent.startsWith('{}')",
            env!("CARGO_PKG_VERSION")
        ));
        page.wait_for("document.getElementById('hot').innerText.includes('shop/visits')");
        assert_eq!(page.text("topics"), "2");
        assert_eq!(page.text("durability"), "none");
        let shards = page.value("document.getElementById('shards').rows.length");
        assert_eq!(shards, json!(2));

        // A topic is found by the beginning of its name, and watched.
        page.value(
            "prefix.value = 'shop/o'; prefix.dispatchEvent(new Event('input', {bubbles: true}))",
        );
        page.wait_for("document.getElementById('found').innerText.includes('shop/orders')");
        assert!(!page.text("found").contains("visits"));
        page.value("document.querySelector('#found button').click()");
        page.wait_for("/^[0-9,]+$/.test(document.getElementById('watched-sum').textContent)");
        let before = page.text("watched-sum");
        let changed = format!("document.getElementById('watched-sum').textContent !== '{before}'");
        page.wait_for(&changed);
        page.wait_for("document.getElementById('watched-rate').textContent.includes('per second')");

        for (width, scheme) in [
            (390, "dark"),
            (390, "light"),
            (1_400, "dark"),
            (2_560, "light"),
        ] {
            page.show(width, scheme);
        }
    });
    assert_eq!(page.complaints, Vec::<Value>::new());
}

/// A server that goes away and comes back at the same addresses.
#[test]
fn the_page_waits_for_a_server_that_went_away() {
    let profile = Directory::new("page-gone");
    let server = Process::with_admin(&[]);
    let admin = server.admin.unwrap().to_string();
    let Some(mut page) = Page::open(&format!("http://{admin}/"), &profile) else {
        println!("chromium is not installed: the page is not tried");
        return;
    };
    page.wait_for("document.getElementById('state')?.textContent === 'ready'");
    drop(server);
    page.wait_for("document.getElementById('state').dataset.state === 'gone'");
    assert!(page.text("state").contains("does not answer"));
    let _again = Process::with(&["--admin", &admin]);
    page.wait_for("document.getElementById('state')?.textContent === 'ready'");
}

#[test]
fn the_page_asks_for_a_token() {
    let profile = Directory::new("page-token");
    std::fs::create_dir_all(&profile.0).unwrap();
    let (token, line) = new_token(&["--name", "reader", "--rights", "read"]);
    let tokens = profile.0.join("tokens.toml");
    std::fs::write(&tokens, line).unwrap();
    let server = Process::with_admin(&["--tokens", tokens.to_str().unwrap()]);
    let url = format!("http://{}/", server.admin.unwrap());
    let Some(mut page) = Page::open(&url, &profile) else {
        println!("chromium is not installed: the page is not tried");
        return;
    };
    let asks = "document.getElementById('login')?.hidden === false";
    page.wait_for(asks);
    assert_eq!(page.text("login-note"), "", "nothing was wrong yet");
    let log_in = |token: &str| {
        format!("login.token.value = {token:?}; login.querySelector('button').click()")
    };
    // Beyond ASCII: it has to reach the server as it is.
    page.value(&log_in("jemand:Schlüssel"));
    page.wait_for("document.getElementById('login-note').textContent.includes('wrong')");
    page.value(&log_in(&token));
    page.wait_for("document.getElementById('state').textContent === 'ready'");
    page.wait_for("document.getElementById('about').textContent.includes('up')");
    assert_eq!(page.value("login.hidden"), json!(true));
    // A reload of the page does not ask again.
    page.call("Page.reload", &json!({}));
    page.wait_for("document.getElementById('state')?.textContent === 'ready'");
    assert_eq!(page.value("login.hidden"), json!(true));
    assert_eq!(
        page.value("document.documentElement.outerHTML")
            .as_str()
            .unwrap()
            .find(&token),
        None
    );
}
