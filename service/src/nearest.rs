//! "Did you mean …?": the known name that an unknown one was probably meant to be.

/// How many wrong, missing, extra or swapped letters still make a misspelling.
const DISTANCE_MAX: usize = 3;

/// The remedy for an unknown `name`: the nearest of `known`, or all of them if none is near.
pub(crate) fn remedy(name: &str, known: &[&str]) -> String {
    let distances = known.iter().map(|candidate| (strsim::osa_distance(name, candidate), *candidate));
    match distances.min() {
        // A short word is within three letters of anything, so half of it has to fit.
        Some((distance, nearest)) if distance <= DISTANCE_MAX.min(name.len() / 2) => {
            format!("did you mean {nearest}?")
        }
        _ => format!("known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_is_told_from_a_foreign_word() {
        let known = ["monitors", "name", "no_data"];
        assert_eq!(remedy("monitor", &known), "did you mean monitors?");
        assert_eq!(remedy("nodata", &known), "did you mean no_data?");
        assert_eq!(remedy("x", &known), "known are monitors, name, no_data");
        assert_eq!(remedy("threshold", &known), "known are monitors, name, no_data");
    }
}
