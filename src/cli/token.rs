//! `globalcounter token new`: makes a random token, or the digest of a password, or the name of a
//! certificate, and the line for the tokens file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use globalcounter::access::{Digest, Right, Rights, parse_tokens};

use super::secret::read_secret;
use super::settings::quoted;

/// The length of a random token, in bytes. It is printed as hexadecimal digits.
const TOKEN_LEN: usize = 32;

/// The length of a password's salt, in bytes.
const SALT_LEN: usize = 16;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make tokens for clients
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token: print the token, then the line for the tokens file. The token is stored nowhere
    #[command(after_help = "Examples:\n  \
        globalcounter token new --name orders --rights count,read --prefix orders/\n  \
        globalcounter token new --name alice --rights admin,read --password-file password.txt\n  \
        globalcounter token new --name audit --rights read --certificate audit.example")]
    New(New),
}

#[derive(Debug, Args)]
pub(super) struct New {
    /// Name of the token, which is not secret
    #[arg(long)]
    name: String,
    /// What its holder may do: count, read, reset, advance, admin, separated by commas
    #[arg(long)]
    rights: Rights,
    /// Allow it only for topics that begin with this text (repeatable)
    #[arg(long = "prefix", value_name = "PREFIX")]
    prefixes: Vec<String>,
    /// Use the password in the first line of this file, instead of a random token
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Give the rights to clients with a certificate of this common name, instead of a random token
    #[arg(long, value_name = "NAME", conflicts_with = "password_file")]
    certificate: Option<String>,
}

/// Runs a command about tokens.
///
/// # Errors
///
/// The password cannot be read, the system has no random numbers, or the output cannot be written.
pub(super) fn run(command: &Command) -> Result<()> {
    let Command::Token(TokenCommand::New(new)) = command;
    let digest = |digest: &Digest| format!("digest = \"{digest}\"");
    let (token, proof) = match (&new.password_file, &new.certificate) {
        (Some(path), _) => (None, digest(&digest_of_password(path)?)),
        (None, Some(name)) => (None, format!("certificate = {}", quoted(name))),
        (None, None) => {
            let token = hex(&random::<TOKEN_LEN>()?);
            let proof = digest(&Digest::of_token(token.as_bytes()));
            (Some(token), proof)
        }
    };
    let line = new.line(&proof);
    // What the server would refuse is better refused here.
    if let Err(mistakes) = parse_tokens(&line)
        && let Some(mistake) = mistakes.first()
    {
        bail!("{}", mistake.text);
    }
    let mut out = io::stdout().lock();
    let written = match token {
        Some(token) => writeln!(out, "{token}\n{line}"),
        None => writeln!(out, "{line}"),
    };
    written.context("cannot write to standard output")
}

impl New {
    /// Returns the line for the tokens file. `proof` is what its holder is known by.
    fn line(&self, proof: &str) -> String {
        let rights = Right::ALL
            .into_iter()
            .filter(|&right| self.rights.contains(right));
        let rights = list(rights.map(Right::name));
        let prefixes = match self.prefixes.is_empty() {
            true => String::new(),
            false => format!(
                "prefixes = {}, ",
                list(self.prefixes.iter().map(String::as_str))
            ),
        };
        let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = match self.name.chars().all(is_bare) && !self.name.is_empty() {
            true => self.name.clone(),
            false => quoted(&self.name),
        };
        format!("{name} = {{ rights = {rights}, {prefixes}{proof} }}")
    }
}

fn digest_of_password(path: &Path) -> Result<Digest> {
    let text = read_secret(path)?;
    let digest = Digest::of_password(text.as_bytes(), &random::<SALT_LEN>()?);
    digest.context("cannot compute the digest of the password")
}

/// Returns random bytes of the system.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read random numbers from /dev/urandom")?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a TOML list of strings.
fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(quoted).collect();
    format!("[{}]", words.join(", "))
}
