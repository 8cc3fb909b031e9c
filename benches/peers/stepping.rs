//! Instructions counted one by one: the thread is run in single steps and each is counted.
//!
//! For machines without hardware counters. It counts what the thread does in user mode, to the instruction; what the
//! kernel does for it is not seen.

#![allow(unsafe_code, reason = "ptrace and waitpid are system calls without a safe wrapper in std")]

use std::io;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::meter;

/// How long no step may be made for the thread to be taken as idle.
const QUIET: Duration = Duration::from_millis(4);

/// The instructions of each of `count` runs of `act`, which makes a thread of another process work. A step is made
/// quickest from the processor that the thread runs on.
pub fn count(
    thread: i32,
    processor: usize,
    count: usize,
    mut act: impl FnMut() + Send,
) -> io::Result<Vec<u64>> {
    let steps = AtomicU64::new(0);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        // The thread that seizes is the one that steps.
        let walker = scope.spawn(|| {
            meter::pin_this_thread(processor);
            walk(thread, &steps, &is_done)
        });
        let settled = || {
            loop {
                let before = steps.load(Ordering::Relaxed);
                thread::sleep(QUIET);
                if steps.load(Ordering::Relaxed) == before {
                    return before;
                }
            }
        };
        let mut counted = Vec::new();
        for _ in 0..count {
            let before = settled();
            act();
            counted.push(settled() - before);
        }
        is_done.store(true, Ordering::Relaxed);
        // The thread waits for work, and the walker for its next step: this one.
        act();
        walker.join().expect("the walker").map(|()| counted)
    })
}

/// Runs a thread in single steps until `is_done`, and lets it go then.
fn walk(thread: i32, steps: &AtomicU64, is_done: &AtomicBool) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, thread, 0)?;
    request(libc::PTRACE_INTERRUPT, thread, 0)?;
    wait(thread)?;
    let mut signal = 0;
    while !is_done.load(Ordering::Relaxed) {
        request(libc::PTRACE_SINGLESTEP, thread, signal)?;
        let status = wait(thread)?;
        let is_own = status >> 16 == 0;
        let is_step = is_own && libc::WSTOPSIG(status) == libc::SIGTRAP;
        // A signal meant for the thread is handed on.
        signal = if is_own && !is_step { libc::WSTOPSIG(status) } else { 0 };
        steps.fetch_add(u64::from(is_step), Ordering::Relaxed);
    }
    request(libc::PTRACE_DETACH, thread, 0)
}

fn request(what: libc::c_uint, thread: i32, signal: i32) -> io::Result<()> {
    let no_address = null_mut::<libc::c_void>();
    let status = unsafe { libc::ptrace(what, thread, no_address, libc::c_long::from(signal)) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits until a thread stops; its status.
fn wait(thread: i32) -> io::Result<i32> {
    let mut status = 0;
    let stopped = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
    match stopped {
        -1 => Err(io::Error::last_os_error()),
        _ if libc::WIFSTOPPED(status) => Ok(status),
        _ => Err(io::Error::other(format!("thread {thread} is gone: {status:#x}"))),
    }
}
