//! How sure a mean over seeds is: Student's t interval, plain and of ratios.
//!
//! Why t: with five seeds the spread itself is a guess, and the normal's 1.96 would be 30 % too
//! narrow. Limits: it takes the seeds' values as normal, which percentiles near saturation are not;
//! read it as a yardstick.

use serde::Serialize;

/// Quantiles 0.975 of Student's t distribution for 1, 2, ... 30 degrees of freedom.
///
/// # Source
/// Student (1908); the digits are of the inverse of the distribution function and are checked below
/// by integrating its density.
const T_975: [f64; 30] = [
    12.706_204_736,
    4.302_652_730,
    3.182_446_305,
    2.776_445_105,
    2.570_581_836,
    2.446_911_851,
    2.364_624_252,
    2.306_004_135,
    2.262_157_163,
    2.228_138_852,
    2.200_985_160,
    2.178_812_830,
    2.160_368_656,
    2.144_786_688,
    2.131_449_546,
    2.119_905_299,
    2.109_815_578,
    2.100_922_040,
    2.093_024_054,
    2.085_963_447,
    2.079_613_845,
    2.073_873_068,
    2.068_657_610,
    2.063_898_562,
    2.059_538_553,
    2.055_529_439,
    2.051_830_516,
    2.048_407_142,
    2.045_229_642,
    2.042_272_456,
];

/// A mean with its 95 % confidence interval; each `None` where there is too little to say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// Values that went in.
    pub n: usize,
    /// Their mean (of ratios: the geometric one).
    pub mean: Option<f64>,
    /// Lower end of the interval; needs two values.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Estimate {
    /// Mean of the values, and Student's t interval around it.
    #[expect(clippy::cast_precision_loss, reason = "seeds are few")]
    pub fn of(values: &[f64]) -> Self {
        let n = values.len();
        if n == 0 {
            return Self::default();
        }
        let count = n as f64;
        let mean = values.iter().sum::<f64>() / count;
        // Beyond the table its last entry stands in: 4 % too wide at most, never too narrow.
        let t = n.checked_sub(2).map(|i| T_975[i.min(T_975.len() - 1)]);
        let half = t.map(|t| {
            let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
            t * (squares / (count - 1.0) / count).sqrt()
        });
        Self {
            n,
            mean: Some(mean),
            low: half.map(|h| mean - h),
            high: half.map(|h| mean + h),
        }
    }

    /// Geometric mean of positive ratios, with the interval that their logarithms give: twice as fast
    /// and half as fast cancel, whichever of the two is called the base.
    pub fn of_ratios(ratios: &[f64]) -> Self {
        let logs: Vec<f64> = ratios.iter().map(|r| r.ln()).collect();
        let of_logs = Self::of(&logs);
        Self {
            n: of_logs.n,
            mean: of_logs.mean.map(f64::exp),
            low: of_logs.low.map(f64::exp),
            high: of_logs.high.map(f64::exp),
        }
    }

    /// Half the width of the interval.
    pub fn half(&self) -> Option<f64> {
        Some((self.high? - self.low?) / 2.0)
    }
}

/// `189 +- 12`, scaled; without an interval the mean alone, without a mean `n/a`.
pub fn plus_minus(e: Estimate, scale: f64, digits: usize) -> String {
    match (e.mean, e.half()) {
        (Some(mean), Some(half)) => {
            format!("{:.digits$} +- {:.digits$}", mean * scale, half * scale)
        }
        (Some(mean), None) => format!("{:.digits$}", mean * scale),
        (None, _) => "n/a".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: Option<f64>, want: f64) {
        let got = got.expect("a number");
        assert!((got - want).abs() < 1e-6, "{got} is not {want}");
    }

    /// 2, 4, 4, 6, 9: mean 5, squared deviations 9 + 1 + 1 + 1 + 16 = 28, variance 28 / 4 = 7,
    /// standard error sqrt(7 / 5) = 1.183216, times t(4) = 2.776445: 3.285134.
    #[test]
    fn a_mean_is_shown_with_what_is_known_of_it() {
        // Student's t for two values is 12.706; their standard error is 1.
        let shown = |values: &[f64]| plus_minus(Estimate::of(values), 10.0, 1);
        assert_eq!(
            [shown(&[1.0, 3.0]), shown(&[2.0]), shown(&[])],
            ["20.0 +- 127.1", "20.0", "n/a"]
        );
    }

    #[test]
    fn the_interval_by_hand() {
        let five = Estimate::of(&[2.0, 4.0, 4.0, 6.0, 9.0]);
        assert_eq!(five.n, 5);
        close(five.mean, 5.0);
        close(five.low, 5.0 - 3.285_134);
        close(five.high, 5.0 + 3.285_134);
        close(five.half(), 3.285_134);
    }

    /// 1 and 3: mean 2, variance 2, standard error 1, t(1) = 12.706205.
    #[test]
    fn two_values_say_little_and_one_says_nothing_of_its_error() {
        let two = Estimate::of(&[1.0, 3.0]);
        close(two.low, 2.0 - 12.706_205);
        let one = Estimate::of(&[3.0]);
        assert_eq!((one.mean, one.low, one.half()), (Some(3.0), None, None));
        assert_eq!(Estimate::of(&[]), Estimate::default());
    }

    /// 1/2, 1, 2: logarithms -ln 2, 0, ln 2: mean 0, variance (ln 2)^2, standard error
    /// ln 2 / sqrt 3 = 0.400189, times t(2) = 4.302653: 1.721875. Ends e^-+1.721875: 0.178731, 5.595007.
    #[test]
    fn ratios_are_averaged_as_ratios() {
        let ratios = Estimate::of_ratios(&[0.5, 1.0, 2.0]);
        close(ratios.mean, 1.0);
        assert!((ratios.low.unwrap() - 0.178_731).abs() < 1e-5);
        assert!((ratios.high.unwrap() - 5.595_007).abs() < 1e-5);
    }

    /// Integrates the density from 0 to the quantile (Simpson): 0.475 for every degree of freedom.
    #[test]
    fn the_table_is_that_of_students_t() {
        // Gamma((v + 1) / 2) / Gamma(v / 2) from v = 1 on: 1 / sqrt(pi), then g(v + 1) = v / 2 / g(v).
        let mut gammas = 1.0 / std::f64::consts::PI.sqrt();
        for (t, v) in T_975.into_iter().zip(1..) {
            let v = f64::from(v);
            let scale = gammas / (v * std::f64::consts::PI).sqrt();
            let density = |x: f64| scale * (1.0 + x * x / v).powf(-f64::midpoint(v, 1.0));
            let steps = 4000;
            let h = t / f64::from(steps);
            let inner: f64 = (1..steps)
                .map(|i| density(f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 })
                .sum();
            let share = (density(0.0) + inner + density(t)) * h / 3.0;
            assert!((share - 0.475).abs() < 1e-9, "{v}: {share}");
            gammas = v / 2.0 / gammas;
        }
    }
}
