//! Writes the seeds of every target into a directory of its own: `seeds DIRECTORY`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use scopegate_fuzz::{TARGETS, seeds};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(env::args().nth(1).ok_or("usage: seeds DIRECTORY")?);
    for target in TARGETS {
        let directory = directory.join(target.name);
        fs::create_dir_all(&directory)?;
        for (number, seed) in seeds(target.name).into_iter().enumerate() {
            fs::write(directory.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
