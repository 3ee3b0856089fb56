//! Randomness that comes again with its seed, and campaigns of tests that live by it.

/// A generator that gives the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Runs `test` with seeds: so many, unless `TOLLGATE_CRASH_WORKLOADS` says how many. It returns how many images it has opened.
/// The seed of a panic is the last that was told; `TOLLGATE_CRASH_SEED` takes it once more.
pub(crate) fn campaign(name: &str, workloads: u64, test: impl Fn(u64) -> u64) {
    let asked = |variable| std::env::var(variable).ok().map(|text| text.parse::<u64>().expect(variable));
    let mut random = [0; 8];
    getrandom::fill(&mut random).unwrap();
    let seed = asked("TOLLGATE_CRASH_SEED");
    let first = seed.unwrap_or_else(|| u64::from_le_bytes(random) >> 16);
    let usual = if seed.is_some() { 1 } else { workloads };
    let workloads = asked("TOLLGATE_CRASH_WORKLOADS").unwrap_or(usual);
    let mut images = 0;
    for seed in first..first + workloads {
        println!("{name}: TOLLGATE_CRASH_SEED={seed}");
        images += test(seed);
    }
    println!("{name}: {workloads} workloads from seed {first}, {images} images opened, all right");
    // The least of them opens nine.
    assert!(images > workloads * 4, "the workloads hardly did anything");
}
