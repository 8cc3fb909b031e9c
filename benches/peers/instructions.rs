//! Instructions counted by valgrind: for machines without hardware counters, as most virtual ones are.
//!
//! Envoy runs in valgrind's tool callgrind, which counts what it does in user mode, to the instruction; what the kernel
//! does for it is not seen. The processor that valgrind imitates has no AVX-512 and no SHA instructions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Envoy under callgrind.
pub struct Callgrind {
    vgdb: PathBuf,
    process: u32,
    output: PathBuf,
    dumps: u32,
}

/// What runs Envoy under callgrind, which writes its dumps beside `output`.
pub fn runner(valgrind: &Path, output: &Path) -> Vec<String> {
    vec![
        valgrind.display().to_string(),
        "--tool=callgrind".to_owned(),
        // Envoy's compiler of wasm writes code.
        "--smc-check=all-non-file".to_owned(),
        // Starting up need not be counted.
        "--instr-atstart=no".to_owned(),
        format!("--callgrind-out-file={}", output.display()),
    ]
}

impl Callgrind {
    pub fn new(valgrind: &Path, process: u32, output: &Path) -> Self {
        let callgrind =
            Self { vgdb: valgrind.with_file_name("vgdb"), process, output: output.to_owned(), dumps: 0 };
        callgrind.command("instrumentation on");
        callgrind
    }

    /// The instructions since the last time.
    pub fn take(&mut self) -> u64 {
        self.command("dump");
        self.dumps += 1;
        let path = format!("{}.{}", self.output.display(), self.dumps);
        let dump = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
        let _ = fs::remove_file(&path);
        total.unwrap_or_else(|| panic!("{path} holds no total"))
    }

    fn command(&self, command: &str) {
        let output = Command::new(&self.vgdb)
            .arg(format!("--pid={}", self.process))
            .args(command.split(' '))
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.vgdb.display()));
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
