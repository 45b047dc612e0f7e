//! Tables small enough to compute by hand.

use super::*;

const FILE: Named<'_> = Named {
    name: "t.csv",
    text: "",
};

fn layer(points: &[(u64, f64)]) -> Points<1> {
    points.iter().map(|&(x, us)| ([x], us)).collect()
}

fn decoder() -> BTreeMap<String, Points<1>> {
    let names = NEEDED.iter().chain(FEED_FORWARD);
    names
        .map(|name| ((*name).to_owned(), layer(&[(1, 1.0), (3, 3.0)])))
        .collect()
}

#[test]
fn layers_are_counted_as_the_model_has_them() {
    // Once: embedding, final norm. Per layer: two norms, qkv, o, gate_up, act, down. Ten layers:
    // 72 times 1, 2, 3 us.
    let sum = dense(FILE, &decoder(), 10, false).expect("complete");
    assert_eq!(sum, [0.0, 72_000.0, 144_000.0, 216_000.0]);
}

#[test]
fn the_shortest_layer_bounds_the_table() {
    let mut layers = decoder();
    layers.insert("o_proj".to_owned(), layer(&[(1, 1.0), (2, 2.0)]));
    assert_eq!(dense(FILE, &layers, 1, false).expect("complete").len(), 3);
}

#[test]
fn a_layer_too_many_or_too_few_is_named() {
    let mut layers = decoder();
    layers.insert("mamba".to_owned(), layer(&[(1, 1.0)]));
    let message = dense(FILE, &layers, 1, false)
        .expect_err("unknown")
        .to_string();
    assert!(
        message.starts_with("`t.csv`: unknown layer `mamba`"),
        "{message}"
    );
    let mut layers = decoder();
    layers.remove("down_proj");
    let message = dense(FILE, &layers, 1, false)
        .expect_err("missing")
        .to_string();
    assert!(message.contains("`down_proj`"), "{message}");
    // A mixture has no such block.
    assert!(dense(FILE, &layers, 1, true).is_ok());
}

#[test]
fn experts_are_interpolated_in_their_row_and_between_rows() {
    // One of four active. Rows: 1 token {1: 10}; 2 tokens {1: 20, 2: 30}; 4 tokens {1: 40, 2: 60, 4: 80}.
    let points: Points<2> = [
        ([1, 1], 10.0),
        ([2, 1], 20.0),
        ([2, 2], 30.0),
        ([4, 1], 40.0),
        ([4, 2], 60.0),
        ([4, 4], 80.0),
    ]
    .into();
    let every = mixture(FILE, &points, 1, (1, 4)).expect("complete");
    // Touched by 2 tokens 1.75, by 3 2.3125, by 4 2.734375.
    // 2: 20 + 0.75 * 10 = 27.5. 4: 60 + 0.734375 * 10 = 67.34375.
    // 3: row 2 ends at 2 and goes on like row 4: 30 + 3.125 = 33.125; row 4: 63.125; between: 48.125.
    let want = [0.0, 10_000.0, 27_500.0, 48_125.0, 67_343.75];
    for (got, want) in every.iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{every:?}");
    }
    assert_eq!(every.len(), want.len());
}

#[test]
fn experts_of_another_model_are_refused() {
    let points: Points<2> = [([1, 2], 10.0), ([2, 2], 20.0), ([2, 4], 30.0)].into();
    let refused = mixture(FILE, &points, 1, (1, 4)).expect_err("two are active");
    assert_eq!(
        refused.to_string(),
        "`t.csv`: activated experts 2 to 2 at 1 tokens (wanted: from 1 to 4, as the model has)"
    );
}
