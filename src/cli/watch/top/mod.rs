//! `globalcounter top`: what a server does, as it happens, on the whole terminal.
//!
//! - [`model`]: what is known of the server
//! - [`fetch`]: a thread that asks the admin port and tells what has changed
//! - [`view`]: a pure function from the model to what is drawn
//! - [`screen`]: the terminal, which is restored however the command ends

mod fetch;
mod model;
mod screen;
mod view;

use std::io::{self, IsTerminal};
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use super::admin_port::AdminArguments;
use fetch::Update;
use model::Model;
use screen::{Input, Screen};
use view::Theme;

/// How long the keyboard is listened to before it is looked whether there are new figures.
const LISTEN: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    globalcounter top\n  \
    globalcounter top --admin 10.0.0.7:9998 --interval 5\n  \
    globalcounter top --token-file token\n\n\
    q, Esc or Ctrl-C ends it. With NO_COLOR in the environment it uses no colours. If the server \
    goes away, it tries again until the server is back.")]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    admin: AdminArguments,
    /// Show new figures every N seconds; they are those of the last second. The charts show all
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    interval: u64,
}

/// Shows what the server does until a key or a signal ends it.
///
/// # Errors
///
/// Standard output is no terminal, the terminal fails, or the admin port refuses the token.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if !io::stdout().is_terminal() {
        bail!(
            "standard output is not a terminal, which top needs: `globalcounter stats` prints the \
             figures once"
        );
    }
    let port = &arguments.admin.port()?;
    let updates = fetch::start(port.clone())?;
    let mut model = Model::new(port.address());
    let theme = Theme::of_environment();
    // Slightly less than the interval: the server's seconds do not come exactly one second apart.
    let interval = Duration::from_secs(arguments.interval) - LISTEN * 2;
    let mut screen = Screen::open()?;
    loop {
        screen.draw(|frame| view::draw(frame, &model, theme))?;
        let drawn = Instant::now();
        let mut changed = false;
        loop {
            match screen.input(LISTEN)? {
                Some(Input::Quit) => return Ok(()),
                Some(Input::Resized) => break,
                None => {}
            }
            let mut at_once = false;
            loop {
                match updates.try_recv() {
                    Ok(Update::Signal) => return Ok(()),
                    Ok(Update::Refused(refused)) => return Err(refused.into()),
                    Ok(Update::Model(change)) => {
                        changed = true;
                        at_once |= model.apply(change);
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => bail!("nothing asks the server any more"),
                }
            }
            if at_once || changed && drawn.elapsed() >= interval {
                break;
            }
        }
    }
}
