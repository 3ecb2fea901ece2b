//! The table: each figure as a ratio to the reference of the same repetition, and whether that is good enough.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::repeat::{Figures, Runs};

/// One line of the table.
struct Row {
    name: &'static str,
    figure: &'static str,
    better: Better,
    /// Ratios: what must be, and what would be good. `None` where nothing is asked.
    bounds: Option<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Better {
    Lower,
    Higher,
}

const fn lower(name: &'static str, figure: &'static str, must: f64, stretch: f64) -> Row {
    let (better, bounds) = (Better::Lower, Some((must, stretch)));
    Row {
        name,
        figure,
        better,
        bounds,
    }
}

const fn higher(name: &'static str, figure: &'static str, must: f64, stretch: f64) -> Row {
    let (better, bounds) = (Better::Higher, Some((must, stretch)));
    Row {
        name,
        figure,
        better,
        bounds,
    }
}

const fn shown(name: &'static str, figure: &'static str) -> Row {
    let (better, bounds) = (Better::Lower, None);
    Row {
        name,
        figure,
        better,
        bounds,
    }
}

const ROWS: [Row; 26] = [
    lower("CPU/request, 64 callers, µs", "loop64.cpu_us", 0.40, 0.25),
    lower("CPU/request, sequential, µs", "sequential.cpu_us", 0.50, 0.35),
    lower(
        "Encrypt p50, sequential, µs",
        "sequential.encrypt.p50_us",
        0.90,
        0.70,
    ),
    lower(
        "Encrypt p99, sequential, µs",
        "sequential.encrypt.p99_us",
        0.90,
        0.60,
    ),
    higher("requests/s, 64 callers", "loop64.rps", 1.2, 1.6),
    higher("restart storm, requests/s", "storm.rps", 1.2, 1.6),
    lower("start to first Status, ms", "start.ms", 0.50, 0.35),
    lower("start, CPU, ms", "start.cpu_ms", 0.40, 0.20),
    lower("RSS idle, KiB", "idle.rss_kib", 0.45, 0.32),
    lower("RSS after the soak, KiB", "after.rss_kib", 0.45, 0.30),
    lower("binary, stripped, KiB", "binary.kib", 0.50, 0.25),
    shown("system calls/request, sequential", "sequential.syscalls"),
    shown("system calls/request, 64 callers", "loop64.syscalls"),
    shown("CPU/Status, sequential, µs", "sequential.status.cpu_us"),
    shown("CPU/Encrypt, sequential, µs", "sequential.encrypt.cpu_us"),
    shown("CPU/Decrypt, sequential, µs", "sequential.decrypt.cpu_us"),
    shown("Status p50, sequential, µs", "sequential.status.p50_us"),
    shown("Decrypt p50, sequential, µs", "sequential.decrypt.p50_us"),
    shown("CPU/request, 1 caller, µs", "loop1.cpu_us"),
    shown("CPU/request, 8 callers, µs", "loop8.cpu_us"),
    shown("CPU/request, 256 callers, µs", "loop256.cpu_us"),
    shown("requests/s, 256 callers", "loop256.rps"),
    shown("CPU/request, restart storm, µs", "storm.cpu_us"),
    shown("CPU/connection, µs", "connections.cpu_us"),
    shown("CPU/request, soak, µs", "soak.cpu_us"),
    shown("requests/s, soak", "soak.rps"),
];

/// All runs, and what is made of them.
pub struct Comparison {
    runs: Runs,
}

/// One figure over all repetitions.
struct Measured {
    reference: f64,
    compared: f64,
    /// Lowest, median, highest.
    ratio: [f64; 3],
}

impl Comparison {
    pub fn new(runs: Runs) -> Self {
        Self { runs }
    }

    /// The musts that are missed, and every fault.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = self.faulty();
        for row in &ROWS {
            if self.verdict(row) == "MISSED" {
                missed.push(row.name.to_owned());
            }
        }
        missed
    }

    /// Errors and wrong answers, of either side: without them the figures are worth nothing.
    pub fn faulty(&self) -> Vec<String> {
        let mut faulty = Vec::new();
        for (side, name) in self.runs.names.iter().enumerate() {
            for what in ["errors", "wrong"] {
                let sum: f64 = self.each(side, what).sum();
                if sum != 0.0 || self.runs.repetitions.is_empty() {
                    faulty.push(format!("{name}: {sum} {what}"));
                }
            }
        }
        faulty
    }

    /// For people; without verdicts where times mean nothing.
    pub fn table(&self, judged: bool) -> String {
        let [reference, compared] = self.runs.names;
        let mut text = String::new();
        let _ = writeln!(
            text,
            "\n{:34} {reference:>10} {compared:>10}  ratio  lowest highest   must stretch  verdict",
            format!("median of {} repetitions", self.runs.repetitions.len())
        );
        for row in &ROWS {
            let Some(measured) = self.measured(row) else {
                continue;
            };
            let [lowest, ratio, highest] = measured.ratio;
            let (must, stretch) = row.bounds.map_or_else(Default::default, |(must, stretch)| {
                (format!("{must:.2}"), format!("{stretch:.2}"))
            });
            let _ = writeln!(
                text,
                "{:34} {:10.1} {:10.1} {ratio:6.2} {lowest:7.2} {highest:7.2} {must:>6} {stretch:>7}  {}",
                row.name,
                measured.reference,
                measured.compared,
                if judged { self.verdict(row) } else { "" }
            );
        }
        for what in ["errors", "wrong"] {
            let [reference, compared] = [0, 1].map(|side| self.each(side, what).sum::<f64>());
            let verdict = if reference + compared == 0.0 {
                "must"
            } else {
                "MISSED"
            };
            let _ = writeln!(
                text,
                "{what:34} {reference:10} {compared:10} {:>31}  {verdict:>14}",
                0
            );
        }
        text
    }

    pub fn json(&self) -> Value {
        let rows = ROWS.iter().filter_map(|row| {
            let measured = self.measured(row)?;
            let [lowest, ratio, highest] = measured.ratio;
            Some(json!({
                "name": row.name,
                "figure": row.figure,
                "reference": measured.reference,
                "compared": measured.compared,
                "ratio": ratio,
                "lowest": lowest,
                "highest": highest,
                "must": row.bounds.map(|(must, _)| must),
                "stretch": row.bounds.map(|(_, stretch)| stretch),
                "verdict": self.verdict(row),
            }))
        });
        let repetitions = self
            .runs
            .repetitions
            .iter()
            .map(|[reference, compared]| json!({"reference": reference, "compared": compared}));
        json!({
            "names": self.runs.names,
            "rows": rows.collect::<Vec<_>>(),
            "missed": self.missed(),
            "repetitions": repetitions.collect::<Vec<_>>(),
        })
    }

    fn verdict(&self, row: &Row) -> &'static str {
        let Some((must, stretch)) = row.bounds else {
            return "";
        };
        let Some(measured) = self.measured(row) else {
            return "MISSED";
        };
        let ratio = measured.ratio[1];
        let good = |bound: f64| match row.better {
            Better::Lower => ratio <= bound,
            Better::Higher => ratio >= bound,
        };
        match (good(must), good(stretch)) {
            (_, true) => "stretch",
            (true, false) => "must",
            (false, false) => "MISSED",
        }
    }

    /// `None` where a side did not measure it.
    fn measured(&self, row: &Row) -> Option<Measured> {
        let ratios = self.runs.repetitions.iter().map(|[reference, compared]| {
            let ratio = compared.get(row.figure)? / reference.get(row.figure)?;
            ratio.is_finite().then_some(ratio)
        });
        let ratios = sorted(ratios.collect::<Option<Vec<f64>>>()?);
        Some(Measured {
            reference: median(&sorted(self.each(0, row.figure).collect()))?,
            compared: median(&sorted(self.each(1, row.figure).collect()))?,
            ratio: [*ratios.first()?, median(&ratios)?, *ratios.last()?],
        })
    }

    fn each<'a>(&'a self, side: usize, figure: &'a str) -> impl Iterator<Item = f64> + 'a {
        let of = move |figures: &Figures| figures.get(figure).copied();
        self.runs
            .repetitions
            .iter()
            .filter_map(move |repetition| of(&repetition[side]))
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some((sorted[low] + sorted[high]) / 2.0)
}
