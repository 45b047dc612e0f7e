//! Round numbers, so that every term can be computed by hand.

use super::*;
use units::Tokens;

/// 1 TB/s, 100 TFLOPS, a link of 100 GB/s and 5 us.
const DEVICE: Device = Device {
    bytes_per_s: 1e12,
    flop_per_s: 1e14,
    link_bytes_per_s: 1e11,
    link_latency_s: 5e-6,
    degree: 1,
};

/// Every peak is reached and layers cost nothing of their own.
const IDEAL: Efficiency = Efficiency {
    weights: 1.0,
    experts: 1.0,
    kv: 1.0,
    linear: 1.0,
    attention: 1.0,
    per_layer_s: 0.0,
};

/// Attention: 1000 * (10 + 2 * 5) * 100 + 10 * 100 * 1000 = 3e6 weights per layer; feed-forward
/// 3 * 1000 * 1000 = 3e6; output projection 1e7. KV: 2 * 5 * 100 * 2 = 2,000 bytes per token and layer.
const NET: Network = Network {
    layers: 10,
    windowed: 0,
    window: 0,
    hidden: 1_000,
    heads: 10,
    kv_heads: 5,
    head_dim: 100,
    kv_bytes: 2,
    ffn: 1_000,
    vocab: 10_000,
    weight_bytes: 2.0,
    expert_bytes: 2.0,
    experts: None,
};

fn decodes(count: u64, context: u64) -> BatchShape {
    let mut shape = BatchShape::default();
    (0..count).for_each(|_| shape.add_decode(Tokens(context)));
    shape
}

fn prefill(prefix: u64, new: u64) -> BatchShape {
    let mut shape = BatchShape::default();
    shape.add_prefill(Tokens(prefix), Tokens(new));
    shape
}

fn ns(device: &Device, net: &Network, efficiency: &Efficiency, shape: &BatchShape) -> u64 {
    let cost = Roofline::new(device, net, efficiency, Host::NONE);
    cost.step(shape).as_nanos()
}

#[test]
fn a_small_decode_reads_weights_and_kv() {
    // Weights: 10 * (3e6 + 3e6) * 2 B = 1.2e8 B = 120,000 ns; head 2e7 B = 20,000 ns;
    // KV 2 * 1,000 * 10 * 2,000 B = 4e7 B = 40,000 ns.
    let ideal = ns(&DEVICE, &NET, &IDEAL, &decodes(2, 1_000));
    assert_eq!(ideal, 180_000);
    // Half the bandwidth for weights, a fifth for KV, 1 us per layer.
    let real = Efficiency {
        weights: 0.5,
        kv: 0.2,
        per_layer_s: 1e-6,
        ..IDEAL
    };
    assert_eq!(ns(&DEVICE, &NET, &real, &decodes(2, 1_000)), 490_000);
}

#[test]
fn a_large_prefill_multiplies() {
    // 10 * 2 * 6e6 * 10,000 = 1.2e12 -> 12,000,000 ns; head: one turn, reading wins, 20,000 ns;
    // pairs 10,000 * (5,000 + 5,000) = 1e8, 10 * 4 * 10 * 100 * 1e8 = 4e12 -> 40,000,000 ns.
    let shape = prefill(5_000, 10_000);
    assert_eq!(ns(&DEVICE, &NET, &IDEAL, &shape), 52_020_000);
    let halved = Efficiency {
        linear: 0.5,
        attention: 0.5,
        ..IDEAL
    };
    assert_eq!(ns(&DEVICE, &NET, &halved, &shape), 104_020_000);
}

#[test]
fn a_mixture_reads_the_experts_it_touches() {
    // 4 experts, 1 active: a token touches one of them, two touch 4 * (1 - 0.75^2) = 1.75.
    let net = Network {
        experts: Some((1, 4)),
        ..NET
    };
    // Attention 60,000 ns, head 20,000 ns, one expert 10 * 3e6 * 2 B = 60,000 ns plus its arithmetic
    // 10 * 2 * 3e6 / 1e14 = 600 ns per token; KV of one token of context 20 ns.
    assert_eq!(ns(&DEVICE, &net, &IDEAL, &decodes(1, 1)), 140_620);
    assert_eq!(
        ns(&DEVICE, &net, &IDEAL, &decodes(2, 1)),
        80_000 + 105_000 + 1_200 + 40
    );
}

#[test]
fn windowed_layers_read_no_further_than_their_window() {
    let net = Network {
        windowed: 5,
        window: 100,
        ..NET
    };
    // 5 layers read 2,000 tokens, 5 layers 200: (10,000 + 1,000) * 2,000 B = 22,000 ns.
    assert_eq!(ns(&DEVICE, &net, &IDEAL, &decodes(2, 1_000)), 162_000);
    // Within the window both kinds are the same.
    let short = decodes(2, 60);
    assert_eq!(
        ns(&DEVICE, &net, &IDEAL, &short),
        ns(&DEVICE, &NET, &IDEAL, &short)
    );
    // Prefill: half the layers see 1e8 pairs, half 10,000 * 100: 2e12 + 2e10 -> 20,200,000 ns.
    let shape = prefill(5_000, 10_000);
    assert_eq!(ns(&DEVICE, &net, &IDEAL, &shape), 32_220_000);
}

#[test]
fn two_gpus_halve_the_work_and_pay_for_the_link() {
    let two = Device {
        degree: 2,
        ..DEVICE
    };
    // Half of 180,000; 20 all-reduces of 5 us; 2 tokens * 20 * 1,000 * 2 B at 100 GB/s = 800 ns.
    assert_eq!(
        ns(&two, &NET, &IDEAL, &decodes(2, 1_000)),
        90_000 + 100_000 + 800
    );
}

#[test]
fn an_empty_batch_costs_nothing_and_the_host_comes_on_top() {
    let cost = Roofline::new(&DEVICE, &NET, &IDEAL, Host::TYPICAL);
    assert_eq!(cost.step(&BatchShape::default()), Nanos::ZERO);
    assert_eq!(
        cost.step(&decodes(2, 1_000)),
        Nanos::new(180_000 + 800_000 + 8_000)
    );
}
