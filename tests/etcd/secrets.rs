//! TLS, user and password.

use globalcounter::etcd::{Client, Error, Member, Settings, Tls};

use crate::cluster::{Node, description};
use crate::etcd::Etcd;
use crate::support::{Authority, Directory, Validity};

async fn refused(settings: Settings) -> Error {
    Member::join(Client::new(settings), description("a"))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_user_needs_the_password() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.post("auth/user/add", r#"{"name":"root","password":"secret"}"#);
    etcd.post("auth/role/add", r#"{"name":"root"}"#);
    etcd.post("auth/user/grant", r#"{"user":"root","role":"root"}"#);
    etcd.post("auth/enable", "{}");
    for settings in [etcd.settings(), etcd.settings().login("root", "guess")] {
        let error = refused(settings).await;
        assert!(matches!(error, Error::Refused(_)), "{error}");
    }
    let a = Node::begin(Client::new(etcd.settings().login("root", "secret")), "a").await;
    let epoch = a.claim_new(1).await;
    let mut watch = a.member.watch(a.session.0);
    let event = watch.next().await;
    assert!(
        matches!(event, globalcounter::cluster::Event::Watched { revision, .. } if revision == epoch.0),
        "{event:?}"
    );
}

#[tokio::test]
async fn an_old_token_is_replaced() {
    let Some(etcd) = Etcd::with(&["--auth-token-ttl", "1"]) else {
        return;
    };
    etcd.post("auth/user/add", r#"{"name":"root","password":"secret"}"#);
    etcd.post("auth/role/add", r#"{"name":"root"}"#);
    etcd.post("auth/user/grant", r#"{"user":"root","role":"root"}"#);
    etcd.post("auth/enable", "{}");
    let a = Node::begin(Client::new(etcd.settings().login("root", "secret")), "a").await;
    // Longer than the token lives, with the second that etcd takes to see it.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    a.claim_new(1).await;
}

#[tokio::test]
async fn tls_needs_the_authority_and_the_clients_certificate() {
    let authority = Authority::new("trusted");
    let (server, client) = (
        authority.server("etcd", Validity::Now),
        authority.client("a", Validity::Now),
    );
    let files = Directory::new("etcd-tls");
    std::fs::create_dir_all(&files.0).unwrap();
    let path = |name: &str, text: &str| {
        let path = files.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let arguments = [
        "--cert-file",
        &path("certificate", &server.certificate),
        "--key-file",
        &path("key", &server.key),
        "--trusted-ca-file",
        &path("authority", &authority.certificate),
        "--client-cert-auth",
    ];
    let Some(etcd) = Etcd::with(&arguments) else {
        return;
    };
    let settings = || etcd.settings();
    let identified = |authority: &Authority| {
        Tls::trusting(authority.certificate.as_bytes())
            .identity(client.certificate.as_bytes(), client.key.as_bytes())
    };
    let a = Node::begin(Client::new(settings().tls(identified(&authority))), "a").await;
    a.claim_new(1).await;

    let error = refused(settings().tls(identified(&Authority::new("other")))).await;
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    let error = refused(settings().tls(identified(&authority).server_name("other.example"))).await;
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    refused(settings().tls(Tls::trusting(authority.certificate.as_bytes()))).await;
    refused(settings()).await;
}
