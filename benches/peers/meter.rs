//! What Envoy's threads have used, as the kernel counts it.

#![allow(
    unsafe_code,
    reason = "perf_event_open and sched_setaffinity are system calls without a safe wrapper in std"
)]

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::FromRawFd as _;

/// `perf_event_attr` of linux/perf_event.h in its first published size, which every kernel takes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
}

/// Something that the kernel counts: `type` and `config` of linux/perf_event.h.
#[derive(Clone, Copy)]
struct Event {
    kind: u32,
    config: u64,
}

const TASK_CLOCK: Event = Event { kind: 1, config: 1 };
const CYCLES: Event = Event { kind: 0, config: 0 };
const INSTRUCTIONS: Event = Event { kind: 0, config: 1 };

/// What one event has counted on one thread, user and kernel.
struct Counter(File);

impl Counter {
    fn open(event: Event, thread: i32) -> io::Result<Self> {
        let size = size_of::<Attributes>() as u32;
        let attributes = Attributes { kind: event.kind, config: event.config, size, ..Attributes::default() };
        let (any_cpu, no_group, close_on_exec): (i32, i32, u64) = (-1, -1, 8);
        let descriptor = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                thread,
                any_cpu,
                no_group,
                close_on_exec,
            )
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(unsafe { File::from_raw_fd(descriptor as i32) }))
    }

    fn read(&mut self) -> u64 {
        let mut value = [0; 8];
        self.0.read_exact(&mut value).expect("a counter's value");
        u64::from_ne_bytes(value)
    }
}

/// One event on every thread of a process.
struct Counters(Vec<Counter>);

impl Counters {
    fn open(event: Event, threads: &[i32]) -> io::Result<Self> {
        threads.iter().map(|thread| Counter::open(event, *thread)).collect::<io::Result<_>>().map(Self)
    }

    fn total(&mut self) -> u64 {
        self.0.iter_mut().map(Counter::read).sum()
    }
}

/// What the threads of a process have used so far.
#[derive(Clone, Copy)]
pub struct Usage {
    /// On a processor.
    pub nanoseconds: u64,
    /// Cycles and instructions, user and kernel; none where the machine has no counters for them.
    pub hardware: Option<(u64, u64)>,
}

/// Counts on every thread of a process.
pub struct Meter {
    clock: Counters,
    hardware: Option<(Counters, Counters)>,
}

impl Meter {
    /// # Errors
    /// What to do, where the kernel does not let this user count.
    pub fn open(process: u32) -> Result<Self, String> {
        let threads = threads(process);
        let refused = |error: io::Error| {
            format!(
                "the kernel does not let this user count what Envoy uses ({error}): run as root, or \
                 `sysctl kernel.perf_event_paranoid=1` first"
            )
        };
        let clock = Counters::open(TASK_CLOCK, &threads).map_err(refused)?;
        let counters = |event| Counters::open(event, &threads);
        let hardware = match (counters(CYCLES), counters(INSTRUCTIONS)) {
            (Ok(cycles), Ok(instructions)) => Some((cycles, instructions)),
            // As in most virtual machines: there is no such counter.
            (Err(error), _) | (_, Err(error)) if is_missing(&error) => None,
            (Err(error), _) | (_, Err(error)) => return Err(refused(error)),
        };
        Ok(Self { clock, hardware })
    }

    pub fn has_hardware(&self) -> bool {
        self.hardware.is_some()
    }

    pub fn read(&mut self) -> Usage {
        let hardware =
            self.hardware.as_mut().map(|(cycles, instructions)| (cycles.total(), instructions.total()));
        Usage { nanoseconds: self.clock.total(), hardware }
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV))
}

/// The threads of a process.
pub fn threads(process: u32) -> Vec<i32> {
    let entries = std::fs::read_dir(format!("/proc/{process}/task")).expect("the threads of a process");
    entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Keeps every thread of a process, and what they start, on one processor.
pub fn pin(process: u32, processor: usize) {
    for thread in threads(process) {
        let status = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(processor, &mut set);
            libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const set)
        };
        assert_eq!(status, 0, "cannot pin thread {thread}: {}", io::Error::last_os_error());
    }
}
