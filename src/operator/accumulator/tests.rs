use super::exact::ExactSum;
use crate::change::bytes::Reader;

fn sum(values: &[f64]) -> f64 {
    let mut sum = ExactSum::default();
    values.iter().for_each(|v| sum.add(*v, 1));
    sum.value()
}

#[test]
fn sums_are_exact_and_rounded_once() {
    for (values, want) in [
        (&[][..], 0.0),
        (&[0.1, 0.2, 0.3][..], 0.6),
        (&[1e308, 1.0, -1e308][..], 1.0),
        (&[1e16, 1.0, -1e16][..], 1.0),
        (&[5e-324, 5e-324, -5e-324][..], 5e-324),
        (&[f64::MIN_POSITIVE, -5e-324][..], f64::MIN_POSITIVE - 5e-324),
        (&[f64::MAX, -f64::MAX, 5e-324][..], 5e-324),
        // Ties to even, and past them.
        (&[9007199254740992.0, 1.0][..], 9007199254740992.0),
        (&[9007199254740994.0, 1.0][..], 9007199254740996.0),
        (&[9007199254740992.0, 1.0, 5e-324][..], 9007199254740994.0),
        (&[-9007199254740992.0, -1.0, -5e-324][..], -9007199254740994.0),
        (&[18014398509481982.0, 1.0][..], 18014398509481984.0),
        (&[f64::MAX, f64::MAX][..], f64::INFINITY),
        (&[-f64::MAX, -f64::MAX][..], f64::NEG_INFINITY),
        (&[f64::MAX, f64::MAX, -f64::MAX][..], f64::MAX),
        (&[-1.5, -2.5][..], -4.0),
        (&[-4294967296.0, 1.0][..], -4294967295.0),
    ] {
        assert_eq!(sum(values), want, "{values:?}");
        let mut reversed = values.to_vec();
        reversed.reverse();
        assert_eq!(sum(&reversed), want, "{reversed:?}");
    }
    for x in [1.0, -1.0, 0.1, 1e300, -3e-310, f64::MAX, 2.0f64.powi(52), 2.0f64.powi(-1022), 1.0 + f64::EPSILON] {
        assert_eq!(sum(&[x]), x);
    }
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *state ^ *state >> 29
}

/// Of any size, sign and weight; then everything is retracted but one value.
#[test]
fn what_is_retracted_leaves_no_trace() {
    let mut state = 7;
    for _ in 0..200 {
        let values: Vec<(f64, i64)> = (0..50)
            .map(|_| (f64::from_bits(next(&mut state)), next(&mut state) as i64 >> (next(&mut state) % 63)))
            .filter(|(v, _)| v.is_finite())
            .collect();
        let (mut all, mut left, mut right) = (ExactSum::default(), ExactSum::default(), ExactSum::default());
        for (i, (value, weight)) in values.iter().enumerate() {
            all.add(*value, *weight);
            if i % 2 == 0 { left.add(*value, *weight) } else { right.add(*value, *weight) }
        }
        right.merge(&left);
        assert_eq!(encoded(&right), encoded(&all), "merging is adding");
        let mut back = ExactSum::decode(&mut Reader::new(&encoded(&all))).unwrap();
        assert_eq!(back.value().to_bits(), all.value().to_bits());
        assert_eq!(encoded(&back), encoded(&all));
        back.add(0.1, 1);
        values.iter().for_each(|(value, weight)| back.add(*value, weight.wrapping_neg()));
        assert_eq!(back.value(), 0.1);
    }
}

fn encoded(sum: &ExactSum) -> Vec<u8> {
    let mut out = Vec::new();
    sum.encode(&mut out);
    out
}

#[test]
fn infinities_and_nan_are_counted() {
    let mut sum = ExactSum::default();
    sum.add(1.5, 1);
    sum.add(f64::INFINITY, 2);
    assert_eq!(sum.value(), f64::INFINITY);
    sum.add(f64::NEG_INFINITY, 1);
    assert!(sum.value().is_nan());
    let mut back = ExactSum::decode(&mut Reader::new(&encoded(&sum))).unwrap();
    back.add(f64::INFINITY, -2);
    assert_eq!(back.value(), f64::NEG_INFINITY);
    back.add(f64::NAN, 1);
    back.add(f64::NEG_INFINITY, -1);
    assert!(back.value().is_nan());
    back.add(f64::NAN, -1);
    assert_eq!(back.value(), 1.5);
    assert!(!back.has_odd_values());
}

#[test]
fn values_of_like_size_take_few_bytes() {
    let mut sum = ExactSum::default();
    (0..1_000_000).for_each(|i| sum.add(f64::from(i) * 0.01, 1));
    assert!(sum.heap_bytes() <= 64, "{}", sum.heap_bytes());
    assert!(encoded(&sum).len() <= 32);
    assert!(ExactSum::decode(&mut Reader::new(&[0, 0xff, 0x7f, 1, 0, 0, 0, 0])).is_err(), "no such digit");
}
