//! What was measured, as a table and as JSON.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use crate::configure::Figure;
use crate::meter::Usage;
use crate::plot::{self, Bars};
use crate::rows::{self, Row, TRIPWIRE, Tokens};

/// What one request of a variant used in a round, in thousands: nanoseconds, cycles, instructions.
#[derive(Clone, Copy)]
pub struct Sample {
    microseconds: f64,
    kilocycles: Option<f64>,
    kiloinstructions: Option<f64>,
    per_second: f64,
}

impl Sample {
    pub fn new(before: Usage, after: Usage, requests: u64, per_second: f64) -> Self {
        let each = |before: u64, after: u64| (after - before) as f64 / requests as f64 / 1000.0;
        let hardware = before.hardware.zip(after.hardware);
        Self {
            microseconds: each(before.nanoseconds, after.nanoseconds),
            kilocycles: hardware.map(|(before, after)| each(before.0, after.0)),
            kiloinstructions: hardware.map(|(before, after)| each(before.1, after.1)),
            per_second,
        }
    }
}

/// All that was measured of a variant.
pub struct Measured {
    name: String,
    tokens: Tokens,
    pub samples: Vec<Sample>,
    /// For each sample, the one of the same requests without a filter that was taken beside it. Requests without a filter
    /// have none.
    pub beside: Vec<Sample>,
    /// Instructions of one request, several times, where valgrind counted them.
    pub instructions: Vec<u64>,
}

impl Measured {
    pub fn new(name: &str, tokens: Tokens) -> Self {
        Self {
            name: name.to_owned(),
            tokens,
            samples: Vec::new(),
            beside: Vec::new(),
            instructions: Vec::new(),
        }
    }
}

/// The middle of some values, and where their middle half lies.
#[derive(Clone, Copy)]
struct Spread {
    lower: f64,
    median: f64,
    upper: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * (values.len().checked_sub(1)?) as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            Some(below + (above - below) * place.fract())
        };
        Some(Self { lower: at(0.25)?, median: at(0.5)?, upper: at(0.75)? })
    }

    fn json(self) -> Value {
        json!({"lower_quartile": rounded(self.lower), "median": rounded(self.median), "upper_quartile": rounded(self.upper)})
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lower, median, upper } = self;
        write!(f, "{median:.2} ({lower:.2}..{upper:.2})")
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// What a variant adds to a request without a filter.
struct Added {
    name: String,
    microseconds: Spread,
    kilocycles: Option<Spread>,
    /// User and kernel where the machine counts them, else user mode alone by valgrind.
    kiloinstructions: Option<Spread>,
    per_second: Spread,
}

/// One row of the report.
struct Compared {
    name: String,
    /// What makes it another form of a row: a prefix or a suffix of its name.
    form: String,
    title: &'static str,
    ours: String,
    peer: String,
    target: Option<f64>,
    instructions: Option<f64>,
    /// Cycles where the machine counts them, else time on the processor.
    time: f64,
}

impl Compared {
    /// None where there is nothing to reach.
    fn is_reached(&self) -> Option<bool> {
        let target = self.target?;
        Some(self.time <= target && self.instructions.is_none_or(|ratio| ratio <= target))
    }
}

/// Everything that a run found.
pub struct Report {
    has_hardware: bool,
    /// Requests without a filter, with each kind of token.
    bare: Vec<Added>,
    added: Vec<Added>,
    compared: Vec<Compared>,
    figures: Vec<Figure>,
}

impl Report {
    pub fn new(
        figures: Vec<Figure>,
        measured: &[Measured],
        rows: &[&'static Row],
        tripwire: bool,
        has_hardware: bool,
    ) -> Self {
        let is_bare = |measured: &&Measured| measured.name == rows::bare(measured.tokens).name;
        let (bare, others): (Vec<&Measured>, Vec<&Measured>) = measured.iter().partition(is_bare);
        let bare_of = |tokens| bare.iter().find(|bare| bare.tokens == tokens).copied();
        let added: Vec<Added> =
            others.into_iter().map(|measured| add(measured, bare_of(measured.tokens))).collect();
        let mut compared = Vec::new();
        let find = |name: &str| added.iter().find(|added| added.name == name);
        let mut forms = vec![("", "")];
        if tripwire {
            forms.push(("", TRIPWIRE));
        }
        if added.iter().any(|added| added.name.starts_with("base ")) {
            forms.push(("base ", ""));
        }
        for row in rows {
            for (prefix, suffix) in &forms {
                if row.target.is_none() && !suffix.is_empty() {
                    continue;
                }
                let ours = format!("{prefix}{}{suffix}", row.ours);
                // Where the peer is our own filter, both come in the same form.
                let peer = match row.peer.strip_prefix("scopegate") {
                    Some(_) => format!("{prefix}{}{suffix}", row.peer),
                    None => row.peer.to_owned(),
                };
                let (Some(ours), Some(peer)) = (find(&ours), find(&peer)) else { continue };
                compared.push(compare(row, ours, peer, (prefix, suffix)));
            }
        }
        let bare = bare.into_iter().map(|bare| add(bare, None)).collect();
        Self { has_hardware, bare, added, compared, figures }
    }

    /// Writes the report where other programs read it.
    pub fn write(&self, directory: &Path) -> std::io::Result<()> {
        let json = serde_json::to_string_pretty(&self.json()).expect("JSON");
        std::fs::write(directory.join("performance.json"), json + "\n")?;
        std::fs::write(directory.join("performance.txt"), self.to_string())?;
        let plain = self.compared.iter().filter(|row| row.form.is_empty());
        let bars: Vec<Bars<'_>> = plain
            .filter_map(|row| {
                let Compared { title, instructions, time, .. } = *row;
                Some(Bars { title, instructions, time, target: row.target? })
            })
            .collect();
        std::fs::write(directory.join("performance.svg"), plot::draw(&bars))
    }

    fn json(&self) -> Value {
        let added = |added: &Added| {
            json!({
                "name": added.name,
                "added_microseconds": added.microseconds.json(),
                "added_kilocycles": added.kilocycles.map(Spread::json),
                "added_kiloinstructions": added.kiloinstructions.map(Spread::json),
                "requests_per_second": added.per_second.json(),
            })
        };
        let row = |row: &Compared| {
            json!({
                "name": row.name, "title": row.title, "ours": row.ours, "peer": row.peer,
                "ratio_of_instructions": row.instructions.map(rounded), "ratio_of_time": rounded(row.time),
                "target": row.target, "is_reached": row.is_reached(),
            })
        };
        let figure = |figure: &Figure| {
            json!({
                "name": figure.name, "title": figure.title, "unit": figure.unit, "value": rounded(figure.value),
                "target": figure.target, "is_reached": figure.is_reached(),
            })
        };
        json!({
            "time": if self.has_hardware { "cycles, user and kernel" } else { "processor time, user and kernel" },
            "instructions": if self.has_hardware { "user and kernel" } else { "user, counted by valgrind" },
            "no_filter": self.bare.iter().map(added).collect::<Vec<_>>(),
            "variants": self.added.iter().map(added).collect::<Vec<_>>(),
            "configuring": self.figures.iter().map(figure).collect::<Vec<_>>(),
            "rows": self.compared.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

fn add(measured: &Measured, bare: Option<&Measured>) -> Added {
    let difference = |of: &dyn Fn(&Sample) -> Option<f64>| {
        let values = measured.samples.iter().enumerate().filter_map(|(round, sample)| {
            Some(of(sample)? - measured.beside.get(round).map_or(Some(0.0), of)?)
        });
        Spread::of(values.collect())
    };
    let counted = difference(&|sample| sample.kiloinstructions);
    let by_valgrind = || {
        let kilo = |counts: &[u64]| Spread::of(counts.iter().map(|count| *count as f64 / 1000.0).collect());
        let base = bare.map_or(Some(0.0), |bare| Some(kilo(&bare.instructions)?.median))?;
        let Spread { lower, median, upper } = kilo(&measured.instructions)?;
        Some(Spread { lower: lower - base, median: median - base, upper: upper - base })
    };
    Added {
        name: measured.name.clone(),
        microseconds: difference(&|sample| Some(sample.microseconds)).expect("a round"),
        kilocycles: difference(&|sample| sample.kilocycles),
        kiloinstructions: counted.or_else(by_valgrind),
        per_second: Spread::of(measured.samples.iter().map(|sample| sample.per_second).collect())
            .expect("a round"),
    }
}

fn compare(row: &'static Row, ours: &Added, peer: &Added, (prefix, suffix): (&str, &str)) -> Compared {
    let ratio = |ours: Option<Spread>, peer: Option<Spread>| Some(ours?.median / peer?.median);
    Compared {
        name: format!("{prefix}{}{suffix}", row.name),
        form: format!("{prefix}{suffix}"),
        title: row.title,
        ours: ours.name.clone(),
        peer: peer.name.clone(),
        target: row.target,
        instructions: ratio(ours.kiloinstructions, peer.kiloinstructions),
        time: ratio(ours.kilocycles, peer.kilocycles)
            .unwrap_or(ours.microseconds.median / peer.microseconds.median),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_hardware {
            writeln!(
                f,
                "This machine has no hardware counters: time is processor time, user and kernel; instructions are \
                 those in user mode, counted by valgrind.\n"
            )?;
        }
        let optional = |spread: Option<Spread>| spread.map_or("-".to_owned(), |spread| spread.to_string());
        let line = |f: &mut fmt::Formatter<'_>, added: &Added| {
            let Added { name, microseconds, kilocycles, kiloinstructions, per_second } = added;
            let (microseconds, rate) = (microseconds.to_string(), per_second.median);
            let (cycles, instructions) = (optional(*kilocycles), optional(*kiloinstructions));
            writeln!(f, "{name:38} {instructions:>27} {microseconds:>22} {cycles:>24} {rate:>10.0}")
        };
        writeln!(
            f,
            "{:38} {:>27} {:>22} {:>24} {:>10}",
            "median (middle half)", "+ kiloinstructions", "+ microseconds", "+ kilocycles", "requests/s"
        )?;
        self.bare.iter().try_for_each(|bare| line(f, bare))?;
        writeln!(f, "added to that:")?;
        self.added.iter().try_for_each(|added| line(f, added))?;
        writeln!(f, "\n{:28} {:>13} {:>8} {:>8}", "ratio to the peer", "instructions", "time", "target")?;
        for row in &self.compared {
            let instructions = row.instructions.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
            let reached = row.is_reached().map_or("", |reached| if reached { "reached" } else { "missed" });
            let target = row.target.map_or(String::new(), |target| target.to_string());
            let (name, time, title) = (&row.name, row.time, row.title);
            writeln!(f, "{name:28} {instructions:>13} {time:>8.3} {target:>8} {reached:8} {title}")?;
        }
        if !self.figures.is_empty() {
            writeln!(f, "\n{:28} {:>18} {:>12}", "configuring, per VM", "measured", "target")?;
        }
        for figure in &self.figures {
            let reached = if figure.is_reached() { "reached" } else { "missed" };
            let Figure { name, title, unit, value, target } = figure;
            writeln!(f, "{name:28} {value:>18.1} {target:>8} {unit:3} {reached:8} {title}")?;
        }
        Ok(())
    }
}
