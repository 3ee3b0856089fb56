//! Which application is called next: drawn uniformly, or by Zipf's law.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Numbers without a pattern that matters here; the same for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Another sequence for each seed, however close they are.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number (the splitmix64 sequence).
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// How often each application is called, against the others.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Distribution {
    /// All as often.
    Uniform,
    /// The one of rank *k* as often as 1 / *k* to the power of the exponent.
    Zipf {
        /// 1 is what much of the world's traffic looks like; 0 would be uniform.
        exponent: f64,
    },
}

/// The greatest exponent: with it, half of all calls go to one application already at 1.7.
pub const EXPONENT_MAX: f64 = 4.0;

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Distribution, String> {
        let zipf = |exponent: &str| match exponent.parse() {
            Ok(exponent) if (0.0..=EXPONENT_MAX).contains(&exponent) => Ok(Distribution::Zipf { exponent }),
            _ => Err(format!("\"{exponent}\" is not an exponent between 0 and {EXPONENT_MAX}")),
        };
        match text.split_once(':') {
            None if text == "uniform" => Ok(Distribution::Uniform),
            None if text == "zipf" => Ok(Distribution::Zipf { exponent: 1.0 }),
            Some(("zipf", exponent)) => zipf(exponent),
            _ => Err("neither uniform nor zipf nor zipf:EXPONENT".to_owned()),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distribution::Uniform => f.write_str("uniform"),
            Distribution::Zipf { exponent } => write!(f, "zipf {exponent}"),
        }
    }
}

/// Draws numbers below a count. Clones draw from the same urn.
#[derive(Clone, Debug)]
pub struct Urn {
    count: u32,
    /// `None` if all are as likely.
    lots: Option<Arc<[Lot]>>,
}

/// Walker's method: as many lots as numbers, all as likely, each shared by at most two of them. A draw costs the same
/// however many there are, so that the generator does not take from the node what it measures.
#[derive(Clone, Copy, Debug)]
struct Lot {
    /// Of 2^32 draws of this lot those that mean its own number.
    own: u32,
    /// What the others mean.
    other: u32,
}

impl Urn {
    /// Numbers below `count`, at least one. Which of them are popular has nothing to do with their order: `seed`
    /// decides.
    #[must_use]
    pub fn new(distribution: Distribution, count: u32, seed: u64) -> Urn {
        let lots = match distribution {
            Distribution::Uniform => None,
            Distribution::Zipf { exponent } => Some(lots(&zipf_weights(exponent, count, seed)).into()),
        };
        Urn { count: count.max(1), lots }
    }

    /// The next number.
    pub fn draw(&self, random: &mut Random) -> u32 {
        let drawn = random.draw();
        // Both halves are below 2^32, so nothing is lost.
        let (high, low) = ((drawn >> 32) as u32, drawn as u32);
        let at = ((u64::from(high) * u64::from(self.count)) >> 32) as u32;
        match self.lots.as_ref().and_then(|lots| lots.get(at as usize)) {
            Some(lot) if low >= lot.own => lot.other,
            _ => at,
        }
    }
}

/// A weight for each number, in shuffled order.
fn zipf_weights(exponent: f64, count: u32, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut weights: Vec<f64> = (1..=count).map(|rank| f64::from(rank).powf(-exponent)).collect();
    for at in (1..weights.len()).rev() {
        weights.swap(at, (random.draw() % (at as u64 + 1)) as usize);
    }
    weights
}

fn lots(weights: &[f64]) -> Vec<Lot> {
    let sum: f64 = weights.iter().sum();
    let mut left: Vec<f64> = weights.iter().map(|weight| weight / sum * weights.len() as f64).collect();
    // Numbers that have less than a lot, and those that have more to give.
    let (mut poor, mut rich): (Vec<u32>, Vec<u32>) =
        (0..).take(left.len()).partition(|at| left[*at as usize] < 1.0);
    let mut lots: Vec<Lot> = (0..).take(left.len()).map(|at| Lot { own: u32::MAX, other: at }).collect();
    while let (Some(small), Some(large)) = (poor.pop(), rich.pop()) {
        let own = left[small as usize];
        lots[small as usize] = Lot { own: (own * f64::from(u32::MAX)) as u32, other: large };
        left[large as usize] -= 1.0 - own;
        if left[large as usize] < 1.0 { poor.push(large) } else { rich.push(large) }
    }
    lots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(distribution: Distribution, count: u32, draws: u32) -> Vec<u32> {
        let urn = Urn::new(distribution, count, 5);
        let mut random = Random::new(1);
        let mut counts = vec![0; count as usize];
        (0..draws).for_each(|_| counts[urn.draw(&mut random) as usize] += 1);
        counts
    }

    #[test]
    fn uniform_draws_come_out_even() {
        let counts = counts(Distribution::Uniform, 10, 100_000);
        // Ten standard deviations.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 1_000), "{counts:?}");
    }

    #[test]
    fn zipf_draws_follow_the_law_rank_by_rank() {
        let mut counts = counts(Distribution::Zipf { exponent: 1.0 }, 1000, 1_000_000);
        let unsorted = counts.clone();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert_ne!(counts, unsorted, "popularity has nothing to do with order");
        let harmonic: f64 = (1..=1000).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1_u32, 2, 3, 10, 100] {
            let wanted = 1_000_000.0 / harmonic / f64::from(rank);
            let found = f64::from(counts[rank as usize - 1]);
            assert!((found / wanted - 1.0).abs() < 0.1, "rank {rank}: {found}, not {wanted}");
        }
        assert!(counts.iter().all(|count| *count > 0), "the least popular are called too");
    }

    #[test]
    fn an_exponent_of_zero_is_uniform_and_a_great_one_nearly_one() {
        let even = counts(Distribution::Zipf { exponent: 0.0 }, 10, 100_000);
        assert!(even.iter().all(|count| count.abs_diff(10_000) < 1_000), "{even:?}");
        let steep = counts(Distribution::Zipf { exponent: EXPONENT_MAX }, 10, 100_000);
        assert!(steep.iter().max().unwrap() > &90_000, "{steep:?}");
        assert_eq!(counts(Distribution::Zipf { exponent: 1.0 }, 1, 10), [10]);
    }

    #[test]
    fn distributions_are_written_as_words() {
        let parse = |text: &str| text.parse::<Distribution>();
        assert_eq!(parse("uniform"), Ok(Distribution::Uniform));
        assert_eq!(parse("zipf"), Ok(Distribution::Zipf { exponent: 1.0 }));
        assert_eq!(parse("zipf:4"), Ok(Distribution::Zipf { exponent: 4.0 }));
        for wrong in ["", "zip", "zipf:", "zipf:4.1", "zipf:-1", "zipf:NaN", "uniform:1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
