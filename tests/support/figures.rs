//! Figures of the benches: one line each that `tests/bench` collects into the table of docs/benchmarks.md and into its plots.
//!
//! A line says `figure NAME VALUE UNIT`. A name's parts are joined by dots, such as `path.100.sum.p99`.

/// Whether the short form of a bench is asked for: as long as all benches together bear.
#[must_use]
pub fn short() -> bool {
    std::env::args().any(|argument| argument == "--short")
}

/// Tells a figure.
pub fn figure(name: &str, value: f64, unit: &str) {
    // Four digits are more than any of these measurements deserves.
    let digits = usize::from(value.abs() < 1_000.0) + 2 * usize::from(value.abs() < 100.0);
    println!("figure {name} {value:.digits$} {unit}");
}

/// The value that `percent` of `taken` do not exceed.
///
/// # Panics
/// If nothing was taken.
#[must_use]
pub fn percentile(taken: &[f64], percent: usize) -> f64 {
    let mut taken = taken.to_vec();
    taken.sort_by(f64::total_cmp);
    taken[(taken.len() - 1) * percent / 100]
}
