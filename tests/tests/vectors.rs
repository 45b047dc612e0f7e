//! The reference's hand-computed cases, read from beside the checkout where they are.

use policies::PRESETS;
use policies::admission::{AdmissionSpec, MarsWindow};
use workspace_tests::machine::{preset, run};
use workspace_tests::vectors::{folder, load};

#[test]
fn every_hand_computed_case_of_the_shipped_presets_holds() {
    let Some(folder) = folder() else {
        eprintln!("skipped: the reference vectors are not beside this checkout");
        return;
    };
    let (mut passed, mut later, mut wrong) = (0, Vec::new(), Vec::new());
    for vector in load(&folder).iter().filter(|v| v.kind.is_empty()) {
        let name = vector.config.policy.as_str();
        if !PRESETS.iter().any(|(preset, _)| *preset == name) {
            later.push(format!("{} ({name})", vector.name));
            continue;
        }
        let policy = preset(name, &vector.overrides());
        let record = run(&vector.setup(), &policy, &vector.offered()).expect("a run");
        let differences = vector.differences(&record);
        passed += usize::from(differences.is_empty());
        wrong.extend(differences);
    }
    eprintln!("{passed} cases hold; presets not shipped yet: {later:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(passed > 0, "the folder is there but holds no case");
}

#[test]
fn the_cap_formulas_give_the_hand_computed_windows() {
    let Some(folder) = folder() else {
        eprintln!("skipped: the reference vectors are not beside this checkout");
        return;
    };
    let AdmissionSpec::MarsWindow(set) = preset("mars", &[]).admission else {
        panic!("mars admits by a window");
    };
    let mut cases = 0;
    for vector in load(&folder).iter().filter(|v| v.kind == "caps") {
        for (&u, &want) in vector.u.iter().zip(&vector.w_kv) {
            assert_eq!(MarsWindow::kv_cap(&set, u), want, "u = {u}");
            cases += 1;
        }
        for &(cores, low, high, want) in &vector.cpu {
            let mut set = set.clone();
            (set.cpu_low, set.cpu_high) = (low, high);
            assert_eq!(MarsWindow::cpu_cap(&set, cores), want, "{cores} cores");
            cases += 1;
        }
    }
    assert!(cases > 0, "the folder is there but holds no case");
}
