//! Every way gives the bits of the plain one.

use super::*;

/// Values of all magnitudes that sixteen lanes may meet, from a seed.
fn values(seed: u32) -> [f32; LANES] {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    std::array::from_fn(|i| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // 24 bits: -1 to 1, spread over a few powers of two.
        let unit = f32::from(u16::try_from(state >> 16).expect("16 bits")) / 32_768.0 - 1.0;
        unit * [0.01, 1.0, 40.0, 100.0][i % 4]
    })
}

/// Everything that a way can do with some values, as bits.
struct Everything<'a> {
    a: [f32; LANES],
    b: [f32; LANES],
    out: &'a mut Vec<u32>,
}

impl Kernel for Everything<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (a, b) = (s.load(&self.a), s.load(&self.b));
        let narrow = self.a.map(|x| half::bf16::from_f32(x).to_bits());
        let mut pair = [0; 2 * LANES];
        pair[..LANES].copy_from_slice(&narrow);
        pair[LANES..].copy_from_slice(&self.b.map(|x| half::bf16::from_f32(x).to_bits()));
        let [first, second] = s.load_bf16_pair(&interleave(&pair));
        let mut results = vec![
            s.splat(self.a[3]),
            a,
            s.load_bf16(&narrow),
            s.load_f16(&self.a.map(|x| half::f16::from_f32(x).to_bits())),
            s.load_f16(&self.b.map(|x| half::f16::from_f32(x * 1e-6).to_bits())),
            first,
            second,
            s.add(a, b),
            s.sub(a, b),
            s.mul(a, b),
            s.div(a, b),
            s.max(a, b),
            s.fma(a, b, a),
            s.round(a),
            s.exp2(s.round(a)),
            exp(s, s.sub(a, s.splat(101.0))),
            exp(s, a),
            silu(s, a),
            silu(s, b),
            s.to_float(s.to_int(a)),
        ];
        for n in 0..=LANES {
            results.push(s.first(n, a, b));
        }
        for x in results {
            let mut lanes = [0.0; LANES];
            s.store(x, &mut lanes);
            self.out.extend(lanes.map(f32::to_bits));
        }
        self.out.push(sum(s, a).to_bits());
        self.out.push(s.max_lanes(a).to_bits());
        let ints = s.to_int(a);
        let words = s.pack(ints);
        let bytes: [u8; 4 * LANES] = std::array::from_fn(|i| words[i % 4].to_le_bytes()[i / 16]);
        let products = s.dot(s.add_i(ints, s.splat_i(-7)), &bytes, words[1]);
        for total in [
            s.sum_i(products),
            s.sum_i(s.max_i(ints, products)),
            s.max_lanes_i(products),
            s.max_lanes_i(s.magnitude(a)),
        ] {
            self.out.push(total.cast_unsigned());
        }
        self.out.extend(words.map(i32::cast_unsigned));
    }
}

#[test]
fn every_way_gives_the_same_bits() {
    for isa in Isa::ALL {
        if !isa.is_here() {
            eprintln!("skipped: this processor has no {}", isa.name());
            continue;
        }
        for seed in 0..200 {
            // Within the exponential's range, which kernels keep to.
            let (a, b) = (values(seed).map(|x| x.min(88.0)), values(seed + 1000));
            let run = |isa: Isa| {
                let mut out = Vec::new();
                isa.run(Everything {
                    a,
                    b,
                    out: &mut out,
                });
                out
            };
            assert_eq!(run(isa), run(Isa::Portable), "{} seed {seed}", isa.name());
        }
    }
}

/// One function of sixteen values.
struct Apply<'a> {
    x: [f32; LANES],
    exp: &'a mut [f32; LANES],
    silu: &'a mut [f32; LANES],
}

impl Kernel for Apply<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = s.load(&self.x);
        s.store(exp(s, x), self.exp);
        s.store(silu(s, x), self.silu);
    }
}

#[test]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the nearest float is meant"
)]
fn the_exponential_is_within_two_units_in_the_last_place() {
    for i in 0..10_000_u16 {
        let x = std::array::from_fn(|lane| {
            -87.0 + f32::from(i) * (175.0 / 10_000.0) + f32::from(lane as u8) * 1e-3
        });
        let (mut e, mut gated) = ([0.0; LANES], [0.0; LANES]);
        Isa::best().run(Apply {
            x,
            exp: &mut e,
            silu: &mut gated,
        });
        for lane in 0..LANES {
            let wide = f64::from(x[lane]);
            if x[lane] < 88.0 {
                let error = (f64::from(e[lane]) / wide.exp() - 1.0).abs();
                assert!(error < 2.0 * f64::from(f32::EPSILON), "exp {wide}: {error}");
            }
            let true_silu = wide / (1.0 + (-wide).exp());
            let error = (f64::from(gated[lane]) - true_silu).abs();
            assert!(
                error <= 1e-6 * true_silu.abs().max(1e-30),
                "silu {wide}: {error}"
            );
        }
    }
}

#[test]
fn the_exponential_of_nothing_is_one_and_far_below_it_stays_finite() {
    let mut x = [0.0; LANES];
    x[1] = -1e30;
    x[2] = f32::NEG_INFINITY;
    x[3] = f32::NAN;
    let (mut e, mut gated) = ([0.0; LANES], [0.0; LANES]);
    Isa::best().run(Apply {
        x,
        exp: &mut e,
        silu: &mut gated,
    });
    assert_eq!(e[0].to_bits(), 1.0_f32.to_bits());
    assert!(e[1] < 2e-38 && e[2] < 2e-38);
    assert!(e[3].is_nan() && gated[3].is_nan());
}
