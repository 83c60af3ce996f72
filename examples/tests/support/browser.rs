//! A real browser without a window, driven over a pipe by the Chrome DevTools Protocol.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The longest that anything may take: a browser on a busy machine starts slowly.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page.
pub struct Browser {
    process: Child,
    to: File,
    from: Receiver<Value>,
    session: Option<String>,
    calls: u64,
    /// What went wrong in pages: exceptions, and what their policy forbids.
    errors: Vec<String>,
    _folder: tempfile::TempDir,
}

/// The browser's program, if there is one.
fn program() -> Option<&'static str> {
    let answers = |name: &&str| {
        let version =
            Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(answers)
}

impl Browser {
    /// Starts a browser; `None`, and a line that says so, where there is none.
    #[allow(clippy::print_stdout)] // Tests say aloud what they skip.
    pub fn start() -> Option<Self> {
        let Some(program) = program().filter(|_| cfg!(unix)) else {
            println!("skipped: no chromium on the path");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let [input, output] = ["in", "out"].map(|name| folder.path().join(name));
        let made = Command::new("mkfifo").args([&input, &output]).status().unwrap();
        assert!(made.success(), "mkfifo failed");
        // The browser reads calls from file 3 and writes answers to file 4.
        let process = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<"$LESIO_IN" 4>"$LESIO_OUT""#, program])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--remote-debugging-pipe", "--host-resolver-rules=MAP * ~NOTFOUND"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg("about:blank")
            .env("LESIO_IN", &input)
            .env("LESIO_OUT", &output)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let to = fs::OpenOptions::new().write(true).open(&input).unwrap();
        let answers = File::open(&output).unwrap();
        let (give, from) = mpsc::channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Ok(message) = message else { break };
                if give.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    break;
                }
            }
        });
        let mut browser =
            Self { process, to, from, session: None, calls: 0, errors: Vec::new(), _folder: folder };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Calls a method of the protocol and waits for its result.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.answer(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The result of a method, or the protocol's error.
    fn answer(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(message.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        loop {
            let mut answer =
                self.from.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no answer to {method}"));
            if answer["id"] == json!(self.calls) {
                return match answer.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(answer["result"].take()),
                };
            }
            self.note(&answer);
        }
    }

    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => self.errors.push(parameters["exceptionDetails"].to_string()),
            "Log.entryAdded" => self.errors.push(parameters["entry"].to_string()),
            "Network.requestWillBeSent" => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                if !["file:", "data:", "blob:"].iter().any(|own| url.starts_with(own)) {
                    self.errors.push(format!("a request to {url}"));
                }
            }
            _ => {}
        }
    }

    /// What went wrong so far.
    pub fn errors(&mut self) -> Vec<String> {
        // An answer comes after the events before it.
        self.evaluate("0");
        std::mem::take(&mut self.errors)
    }

    /// Opens a file and waits until its script says that it is ready; the time that this took.
    pub fn open(&mut self, file: &Path) -> Duration {
        let path = file.canonicalize().unwrap();
        let encoded: String = path
            .to_str()
            .unwrap()
            .bytes()
            .map(|byte| match byte {
                b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                    char::from(byte).to_string()
                }
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let started = Instant::now();
        self.call("Page.navigate", json!({"url": format!("file://{encoded}")}));
        self.ready();
        started.elapsed()
    }

    /// Waits until the page that is being opened is ready.
    pub fn ready(&mut self) {
        self.wait("document.readyState === 'complete' && document.body.dataset.ready === 'yes'");
    }

    /// Waits until an expression is true. A page that is being left has no answer yet.
    pub fn wait(&mut self, expression: &str) {
        let started = Instant::now();
        let parameters = json!({"expression": expression, "returnByValue": true});
        while self
            .answer("Runtime.evaluate", parameters.clone())
            .map(|found| found["result"]["value"] == json!(true))
            != Ok(true)
        {
            assert!(started.elapsed() < PATIENCE, "{expression} never holds: {:?}", self.errors);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.call("Runtime.evaluate", parameters);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    pub fn text(&mut self, expression: &str) -> String {
        let value = self.evaluate(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}, expected a text")).to_owned()
    }

    /// The width and height of the window, in a color scheme, `light` or `dark`.
    pub fn look(&mut self, [width, height]: [u32; 2], scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", feature);
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str, code: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Turns the mouse wheel over an element.
    pub fn wheel(&mut self, id: &str, by: f64) {
        let middle = format!(
            "(() => {{ const e = document.getElementById('{id}'); e.scrollIntoView({{block: 'center'}}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] }})()"
        );
        let place = self.evaluate(&middle);
        let event = json!({"type": "mouseWheel", "x": place[0], "y": place[1], "deltaX": 0, "deltaY": by});
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Asserts that the page is no wider than the window, at 1280 and at 390 pixels, and that nothing of it is hidden behind a
    /// horizontal scroll or cut off; pictures of it go into a folder where `LESIO_SCREENSHOTS` names one.
    pub fn assert_fits(&mut self, name: &str) {
        for (size, scheme) in
            [([1280, 900], "light"), ([1280, 900], "dark"), ([390, 844], "light"), ([390, 844], "dark")]
        {
            self.look(size, scheme);
            let wide = self.evaluate(
                "[document.documentElement, ...document.querySelectorAll('body *')].filter(e => \
                 !e.closest('.unseen') && e.scrollWidth > e.clientWidth + 1 && \
                 (e === document.documentElement || ['auto', 'scroll', 'hidden'].includes(getComputedStyle(e).overflowX)) || \
                 e.getBoundingClientRect().right > innerWidth + 1)\
                 .map(e => e.tagName + '#' + e.id + '.' + e.className + ' ' + e.scrollWidth)",
            );
            assert_eq!(wide, json!([]), "{name} at {size:?} has more than it shows");
            assert_eq!(self.evaluate("innerWidth"), json!(size[0]), "{name}");
            if let Some(folder) = std::env::var_os("LESIO_SCREENSHOTS") {
                let shot = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
                let bytes = decoded(shot["data"].as_str().unwrap());
                fs::write(Path::new(&folder).join(format!("{name}-{}-{scheme}.png", size[0])), bytes)
                    .unwrap();
            }
        }
        self.look([1280, 900], "light");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Bytes of base64.
fn decoded(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u32> =
        text.bytes().filter(|&byte| byte != b'=').map(|byte| u32::from(value(byte))).collect();
    let mut bytes = Vec::new();
    for group in digits.chunks(4) {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - group.len()));
        bytes.extend(bits.to_be_bytes()[1..group.len()].iter());
    }
    bytes
}
