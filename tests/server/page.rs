//! The page of the admin port, in a real browser, where Chromium is installed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use globalcounter::protocol::Op;
use serde_json::{Value, json};

use crate::access::new_token;
use crate::support::{Directory, Framed, Page, Process, SetOnDrop};

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
        assert_eq!(
            page.value("document.getElementById('cluster').hidden"),
            json!(true)
        );
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
            page.show("page", width, scheme);
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
