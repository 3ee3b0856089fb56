//! Mutations of good inputs, from a seed: the same seed gives the same inputs.

/// No input grows beyond this: parsers are quick with small ones, and bounds on large ones have tests of their own.
const BYTES_MAX: usize = 4096;

/// How many inputs are kept to go on from.
const POOL: usize = 256;

pub(crate) struct Mutator {
    random: u64,
    /// Good inputs; the first so many stay.
    pool: Vec<Vec<u8>>,
    seeds: usize,
    words: &'static [&'static str],
    input: Vec<u8>,
}

impl Mutator {
    pub(crate) fn new(seed: u64, mut seeds: Vec<Vec<u8>>, words: &'static [&'static str]) -> Mutator {
        seeds.push(Vec::new());
        Mutator { random: seed, seeds: seeds.len(), pool: seeds, words, input: Vec::new() }
    }

    /// The next input.
    pub(crate) fn next(&mut self) -> &[u8] {
        let from = self.below(self.pool.len());
        self.input.clone_from(&self.pool[from]);
        for _ in 0..1 + self.below(6) {
            self.mutate();
        }
        self.input.truncate(BYTES_MAX.max(self.pool[from].len()));
        // Now and then one is gone on from, or only what one step away from a seed would ever be tried.
        if self.below(8) == 0 {
            let input = self.input.clone();
            if self.pool.len() < self.seeds + POOL {
                self.pool.push(input);
            } else {
                let place = self.seeds + self.below(POOL);
                self.pool[place] = input;
            }
        }
        &self.input
    }

    fn mutate(&mut self) {
        let len = self.input.len();
        let (at, other) = (self.below(len + 1), self.below(len + 1));
        let (start, end) = (at.min(other), at.max(other).min(at.min(other) + 64));
        match self.below(10) {
            0 if len > 0 => self.input[at % len] ^= 1 << self.below(8),
            1 if len > 0 => self.input[at % len] = self.byte(),
            2 => {
                let byte = self.byte();
                self.input.insert(at, byte);
            }
            3 => drop(self.input.drain(start..end)),
            4 => {
                let part = self.input[start..end].to_vec();
                let times = 1 + self.below(8);
                self.input.splice(at..at, part.repeat(times));
            }
            5 => self.input.truncate(at),
            6 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len())];
                self.input.splice(at..at, word.bytes());
            }
            7 => {
                let donor = self.below(self.pool.len());
                let donor = &self.pool[donor];
                let from = (self.random >> 40) as usize % (donor.len() + 1);
                let part = donor[from..(from + 64).min(donor.len())].to_vec();
                self.input.splice(at..at, part);
            }
            8 => {
                // A number of four or eight bytes that is at a bound.
                let bounds = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX, 1 << 63];
                let number = bounds[self.below(bounds.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)];
                let end = (at + width).min(len);
                self.input.splice(at..end, number[..width].iter().copied());
            }
            _ if len > 0 => {
                let step = 1 + self.below(16) as u8;
                let byte = &mut self.input[at % len];
                *byte =
                    if step.is_multiple_of(2) { byte.wrapping_add(step) } else { byte.wrapping_sub(step) };
            }
            _ => {}
        }
    }

    fn byte(&mut self) -> u8 {
        const COMMON: &[u8] = b"\0\t\n\r &%+=[];:-_\"'/\\.09azAZ\x7f\x80\xc3\xff";
        if self.below(2) == 0 { COMMON[self.below(COMMON.len())] } else { self.below(256) as u8 }
    }

    fn below(&mut self, bound: usize) -> usize {
        // SplitMix64: short, and good enough to choose by.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
