//! Laws of mixes of clients.

#![allow(
    clippy::disallowed_methods,
    reason = "a test reads recordings from disk"
)]

use std::io::Write;
use std::path::Path;

use super::*;
use crate::arrivals::{Arrivals, ClientsError, GapKind, GapLaw};

fn window(index: u64, rate_per_s: f64, kind: GapKind, cv: f64) -> Window {
    Window {
        start: Time::from_nanos(index * WINDOW.as_nanos()),
        rate_per_s,
        law: GapLaw::new(kind, cv).unwrap(),
    }
}

fn client(name: &str, windows: Vec<Window>) -> Client {
    Client {
        name: name.into(),
        windows,
    }
}

fn times(mix: &ClientMix, rate_per_s: Option<f64>, seed: u64) -> impl Iterator<Item = Time> {
    let mix = mix.clone();
    Arrivals::Clients { mix, rate_per_s }.times(seed).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "small samples")]
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    (mean, (squares / (n - 1.0) / n).sqrt())
}

#[test]
fn a_window_expects_rate_times_length_whatever_the_spread() {
    // 60 arrivals a window at a cv of 5, then 30 at 0.4, then none for a window. Beginning each window
    // with a full gap would give the first one 12 more.
    let mix = ClientMix::new(vec![client(
        "a",
        vec![
            window(0, 0.1, GapKind::Gamma, 5.0),
            window(1, 0.05, GapKind::Weibull, 0.4),
            window(3, 0.1, GapKind::Gamma, 5.0),
        ],
    )])
    .unwrap();
    assert_eq!(mix.length(), Nanos::from_millis(2_400_000));
    assert!((mix.rate_per_s() - 150.0 / 2400.0).abs() < 1e-12);
    let cycles = 4_000;
    let mut counts = vec![[0.0_f64; 4]; cycles];
    for time in times(&mix, None, 1) {
        let at = usize::try_from(time.as_nanos() / WINDOW.as_nanos()).unwrap();
        match counts.get_mut(at / 4) {
            Some(cycle) => cycle[at % 4] += 1.0,
            None => break,
        }
    }
    for (i, expected) in [60.0, 30.0, 0.0, 60.0].into_iter().enumerate() {
        let each: Vec<f64> = counts.iter().map(|cycle| cycle[i]).collect();
        let (mean, error) = mean_and_error(&each);
        eprintln!("window {i}: {mean:.2} arrivals, {expected} expected, error {error:.2}");
        assert!(
            (mean - expected).abs() <= 4.0 * error,
            "{i}: {mean} {error}"
        );
        // The band is narrow enough to notice the 12.
        assert!(error < 2.0);
    }
}

#[test]
fn gaps_of_one_law_go_through_windows_as_if_there_were_none() {
    let law = |i| window(i, 0.01, GapKind::Gamma, 3.0);
    let mix = ClientMix::new(vec![client("a", (0..7).map(law).collect())]).unwrap();
    // Mean gap 100 s in windows of 600 s: most long gaps cross a boundary.
    let arrivals: Vec<f64> = times(&mix, None, 2)
        .take(100_001)
        .map(Time::as_secs)
        .collect();
    let gaps: Vec<f64> = arrivals.windows(2).map(|w| (w[1] - w[0]) / 100.0).collect();
    let (mean, _) = mean_and_error(&gaps);
    let n = 100_000.0_f64;
    assert!((mean - 1.0).abs() <= 4.0 * 3.0 / n.sqrt(), "{mean}");
    let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n;
    // Fourth central moment of a gamma: cv^4 (3 + 6 cv^2) = 81 * 57.
    let error = ((81.0 * 57.0 - 81.0) / n).sqrt();
    assert!((variance - 9.0).abs() <= 4.0 * error, "{variance} {error}");
}

#[test]
fn another_client_moves_nobody() {
    let a = client("a", vec![window(0, 0.2, GapKind::Gamma, 1.2)]);
    let b = client("b", vec![window(0, 0.5, GapKind::Weibull, 2.0)]);
    let alone = ClientMix::new(vec![a.clone()]).unwrap();
    let both = ClientMix::new(vec![a, b]).unwrap();
    let alone: Vec<Time> = times(&alone, None, 4).take(200).collect();
    let both: Vec<Time> = times(&both, None, 4).take(2_000).collect();
    assert!(both.is_sorted());
    assert!(alone.iter().all(|time| both.binary_search(time).is_ok()));
    assert!(alone.iter().all(|time| *time <= both[1_999]));
}

#[test]
fn a_mix_can_be_scaled_to_a_rate() {
    let mix = mix("servegen-m-small").unwrap();
    let rate = 0.05;
    // Sessions in one day at 0.05/s, over 60 seeds.
    let count = |seed| {
        let end = Time::ZERO + mix.length();
        let before_end = times(&mix, Some(rate), seed).take_while(|t| *t < end);
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let count = before_end.count() as f64;
        count
    };
    let counts: Vec<f64> = (0..60).map(count).collect();
    let (mean, error) = mean_and_error(&counts);
    let wanted = rate * mix.length().as_secs();
    eprintln!("{mean:.0} sessions a day, {wanted:.0} wanted, error {error:.0}");
    assert!((mean - wanted).abs() <= 4.0 * error, "{mean} {error}");
    assert!(error < 0.05 * wanted);
}

#[test]
fn the_same_seed_gives_the_same_times_for_ever() {
    let mix = mix("servegen-m-small").unwrap();
    let first: Vec<u64> = times(&mix, Some(1.0), 1)
        .take(3)
        .map(Time::as_nanos)
        .collect();
    assert_eq!(first, [426_632_092, 877_801_827, 1_553_812_570]);
}

#[test]
fn every_mix_is_what_its_readme_says() {
    for (name, _) in MIXES {
        assert!(mix(name).is_some(), "{name}");
    }
    assert!(mix("no such").is_none());
    let mix = mix("servegen-m-small").unwrap();
    assert_eq!(mix.length(), Nanos::from_millis(86_400_000));
    assert!(
        (mix.rate_per_s() - 509.0).abs() < 1.0,
        "{}",
        mix.rate_per_s()
    );
}

#[test]
fn a_description_can_plan_every_kind() {
    use traces::generate::ArrivalPlan;
    let rate_per_s = 0.5;
    let clients = |name: &str| ArrivalPlan::Clients {
        mix: name.to_owned(),
        rate_per_s: Some(rate_per_s),
    };
    let plans = [
        ArrivalPlan::Fixed { rate_per_s },
        ArrivalPlan::Poisson { rate_per_s },
        ArrivalPlan::Gamma {
            rate_per_s,
            cv: 2.0,
        },
        ArrivalPlan::Burst {
            rate_per_s,
            size: 4,
        },
        clients("servegen-m-small"),
    ];
    for plan in plans {
        let arrivals = Arrivals::planned(&plan, mix).unwrap();
        assert_eq!(arrivals.rate_per_s(), Some(rate_per_s));
        assert_eq!(arrivals.times(1).unwrap().take(9).count(), 9);
    }
    assert!(Arrivals::planned(&clients("no such"), mix).is_none());
}

#[test]
fn windows_that_cannot_be_are_refused_with_their_line() {
    let cases = [
        ("0,0,0,,0,0\n600,1,2\n", "line 2: 3 columns"),
        ("0,1,2,Pareto,0,0\n", "line 1: `family` is `Pareto`"),
        (
            "0,1,2,Gamma,0,0\n300,1,2,Gamma,0,0\n",
            "line 2: `start_s` is `300` (wanted: at least 600",
        ),
        ("0,-1,2,Gamma,0,0\n", "line 1: `rate` is `-1`"),
        ("0,1,nan,Gamma,0,0\n", "line 1: `cv` is `nan`"),
        ("0,1,0,Gamma,0,0\n", "line 1: `cv` is `0`"),
    ];
    for (text, wanted) in cases {
        let refused = Client::from_servegen("x", text).unwrap_err().to_string();
        assert!(refused.starts_with(wanted), "{refused}");
    }
    let header = "client,start_s,rate_per_s,cv,family\n";
    let silent = ClientMix::from_csv(&format!("{header}a,0,0,0,\n")).unwrap_err();
    assert!(matches!(silent, ClientsError::Silent));
    let refused = ClientMix::from_csv("start,rate\n0,1\n").unwrap_err();
    assert!(refused.to_string().contains("`start,rate`"), "{refused}");
    let mix = ClientMix::from_csv(&format!("{header}a,600,2,1,Gamma\nb,1200,1,3,Weibull\n"));
    let mix = mix.unwrap();
    assert_eq!(mix.clients()[1].windows[0].start, Time::ZERO + WINDOW);
    assert_eq!(mix.length(), Nanos::from_millis(1_200_000));
}

#[test]
fn servegens_own_files_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/traces/servegen/data/language/m-small");
    if !folder.is_dir() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no recordings at ../shared/traces"
        );
        return;
    }
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let client = Client::from_servegen("x", &text).unwrap();
        // Two weeks of windows, counted without our reader: those with a rate.
        let active = text.lines().filter(|line| !line.contains(",0,0,,0,0"));
        assert_eq!(client.windows.len(), active.count());
        assert!(client.windows.iter().all(|w| w.rate_per_s > 0.0));
        read += 1;
    }
    assert!(read > 0);
}
