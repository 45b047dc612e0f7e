//! The model written out in 64-bit floats, without paging, batching or vectors.

#![allow(clippy::cast_precision_loss, reason = "small counts")]

use super::*;
use crate::model::{Ffn, FfnDense, Matrix, ModelConfig};

fn times(m: &Matrix, x: &[f64]) -> Vec<f64> {
    let values = m.to_f32().expect("floats");
    let dot = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
    values.chunks_exact(m.cols).map(dot).collect()
}

fn norm(x: &[f64], weight: &[f32], eps: f32) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    let by = 1.0 / (mean + f64::from(eps)).sqrt();
    x.iter()
        .zip(weight)
        .map(|(x, w)| x * by * f64::from(*w))
        .collect()
}

fn rotate(head: &mut [f64], position: usize, c: &ModelConfig) {
    let half = c.head_dim / 2;
    for i in 0..half {
        let frequency = f64::from(c.rope_theta).powf(-2.0 * i as f64 / c.head_dim as f64)
            / c.rope_factors.get(i).map_or(1.0, |f| f64::from(*f));
        let (sin, cos) = (position as f64 * frequency).sin_cos();
        let (a, b) = (head[i], head[i + half]);
        head[i] = a * cos - b * sin;
        head[i + half] = b * cos + a * sin;
    }
}

fn dense(f: &FfnDense, x: &[f64]) -> Vec<f64> {
    let (gate, up) = (times(&f.gate, x), times(&f.up, x));
    let act: Vec<f64> = gate
        .iter()
        .zip(up)
        .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
        .collect();
    times(&f.down, &act)
}

fn unit(ffn: &Ffn, c: &ModelConfig, x: &[f64]) -> Vec<f64> {
    match ffn {
        Ffn::Dense(f) => dense(f, x),
        Ffn::Moe { router, experts } => {
            let moe = c.moe.as_ref().expect("experts");
            let scores: Vec<f64> = times(router, x).into_iter().map(f64::exp).collect();
            let total: f64 = scores.iter().sum();
            let mut order: Vec<usize> = (0..experts.len()).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            let chosen = &order[..moe.active];
            let divisor = if moe.normalise {
                chosen.iter().map(|e| scores[*e]).sum()
            } else {
                total
            };
            let mut y = vec![0.0; x.len()];
            for e in chosen {
                for (y, out) in y.iter_mut().zip(dense(&experts[*e], x)) {
                    *y += scores[*e] / divisor * out;
                }
            }
            y
        }
    }
}

/// Logits after the last of some tokens.
pub(super) fn logits(w: &Weights, tokens: &[u32]) -> Vec<f64> {
    let c = &w.config;
    let table = w.embedding.to_f32().expect("floats");
    let mut stream: Vec<Vec<f64>> = tokens
        .iter()
        .map(|t| {
            table[*t as usize * c.hidden..][..c.hidden]
                .iter()
                .map(|x| f64::from(*x))
                .collect()
        })
        .collect();
    for layer in &w.layers {
        let (mut queries, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (position, x) in stream.iter().enumerate() {
            let h = norm(x, &layer.attn_norm, c.norm_eps);
            let mut made = [&layer.q, &layer.k, &layer.v].map(|m| times(m, &h));
            for (kind, made) in made.iter_mut().enumerate() {
                if let Some(bias) = &layer.qkv_bias {
                    made.iter_mut()
                        .zip(&bias[kind])
                        .for_each(|(x, b)| *x += f64::from(*b));
                }
                if kind < 2 {
                    for head in made.chunks_exact_mut(c.head_dim) {
                        if let Some(weight) = &layer.qk_norm {
                            let normed = norm(head, &weight[kind], c.norm_eps);
                            head.copy_from_slice(&normed);
                        }
                        rotate(head, position, c);
                    }
                }
            }
            let [q, k, v] = made;
            queries.push(q);
            keys.push(k);
            values.push(v);
        }
        for (position, x) in stream.iter_mut().enumerate() {
            let mut attended = Vec::new();
            for head in 0..c.heads {
                let own = head * c.head_dim..(head + 1) * c.head_dim;
                let kv = head / c.group() * c.head_dim..(head / c.group() + 1) * c.head_dim;
                let score = |key: &Vec<f64>| -> f64 {
                    let dot: f64 = queries[position][own.clone()]
                        .iter()
                        .zip(&key[kv.clone()])
                        .map(|(a, b)| a * b)
                        .sum();
                    (dot / (c.head_dim as f64).sqrt()).exp()
                };
                let weights: Vec<f64> = keys[..=position].iter().map(score).collect();
                let total: f64 = weights.iter().sum();
                for i in kv {
                    let sum: f64 = weights.iter().zip(&values).map(|(p, v)| p * v[i]).sum();
                    attended.push(sum / total);
                }
            }
            x.iter_mut()
                .zip(times(&layer.o, &attended))
                .for_each(|(x, y)| *x += y);
            let h = norm(x, &layer.ffn_norm, c.norm_eps);
            x.iter_mut()
                .zip(unit(&layer.ffn, c, &h))
                .for_each(|(x, y)| *x += y);
        }
    }
    let h = norm(stream.last().expect("a token"), &w.norm, c.norm_eps);
    times(w.head.as_ref().unwrap_or(&w.embedding), &h)
}

/// Largest difference over the largest logit.
fn error(got: &[f32], want: &[f64]) -> f64 {
    let largest = want.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let worst = got
        .iter()
        .zip(want)
        .fold(0.0_f64, |most, (a, b)| most.max((f64::from(*a) - b).abs()));
    assert_eq!(got.len(), want.len());
    worst / largest
}

#[test]
fn exact_logits_are_those_of_64_bit_floats() {
    for shape in SHAPES {
        let weights = weights(shape);
        let tokens = text(90, 3);
        let want = logits(&weights, &tokens);
        let mut cpu = executor(&weights, exact(), 16);
        let got = Steps::new(16)
            .row(0, &blocks(6, 5), 0, &tokens)
            .run(&mut cpu);
        let error = error(&got, &want);
        eprintln!("{shape}: {error:.1e}");
        assert!(error < 2e-6, "{shape}: {error}");
    }
}

#[test]
fn rounded_weights_move_logits_by_no_more_than_stated() {
    // Measured: 0.0037, 0.0074, 0.0070, 0.032, 0.030. The widths of these shapes are tiny, and with them
    // the number of roundings that cancel.
    for (mode, kv, bound) in [
        (Mode::F32, KvFormat::Bf16, 0.005),
        (Mode::Bf16, KvFormat::F32, 0.01),
        (Mode::Bf16, KvFormat::Bf16, 0.01),
        (Mode::Int8, KvFormat::F32, 0.04),
        (Mode::Int8, KvFormat::Bf16, 0.04),
    ] {
        for shape in ["tiny", "tiny-qwen2", "tiny-qwen3"] {
            let weights = weights(shape);
            let tokens = text(90, 3);
            let want = logits(&weights, &tokens);
            let options = CpuOptions {
                mode,
                kv,
                ..exact()
            };
            let mut cpu = executor(&weights, options, 16);
            let got = Steps::new(16)
                .row(0, &blocks(6, 5), 0, &tokens)
                .run(&mut cpu);
            let error = error(&got, &want);
            eprintln!(
                "{} weights, {} KV, {shape}: {error:.1e}",
                mode.name(),
                kv.name()
            );
            assert!(error < bound, "{mode:?} {kv:?} {shape}: {error}");
        }
    }
}
