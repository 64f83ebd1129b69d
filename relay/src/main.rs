//! The `hypertab-relay` program.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use hypertab_relay::command::{Command, parse};
use hypertab_relay::config::Settings;
use hypertab_relay::{Event, Signal, ask_health, serve};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed: a client that gives its secret key away is refused, and its key stays in no buffer.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    let (settings, is_health) = match command() {
        Command::Serve(settings) => (settings, false),
        Command::Health(settings) => (settings, true),
        Command::Print(text) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Command::Fail(text, why) => {
            print!("{text}");
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("The runtime does not start: {error}.");
            return ExitCode::FAILURE;
        }
    };
    if is_health {
        return match runtime.block_on(ask_health(&settings)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let served = LocalSet::new().block_on(&runtime, async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (sender, signals) = mpsc::channel(4);
        tokio::spawn(async move {
            loop {
                let signal = tokio::select! {
                    _ = terminate.recv() => Signal::Stop,
                    _ = interrupt.recv() => Signal::Stop,
                    _ = hangup.recv() => Signal::Reload,
                };
                if sender.send(signal).await.is_err() {
                    return;
                }
            }
        });
        serve(*settings, reread, print_event, signals).await
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    parse(std::env::args_os().skip(1), std::env::vars_os())
}

/// Reads the settings again, from where they came from.
fn reread() -> Result<Settings, String> {
    match command() {
        Command::Serve(settings) => Ok(*settings),
        Command::Health(_) => Err("The command line is another one.".into()),
        Command::Print(why) | Command::Fail(_, why) => Err(why),
    }
}

fn print_event(event: &Event) {
    let mut out = std::io::stdout().lock();
    // Nobody reads: then nobody needs it.
    let _ = writeln!(out, "{event}").and_then(|()| out.flush());
}
