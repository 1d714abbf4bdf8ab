//! The planted faults of `sim/faults` can still be planted. That they are found is `sim/faults/run`'s to say.

use std::path::Path;
use std::process::Command;

#[test]
fn every_fault_names_its_checker_and_applies_to_the_tree() {
    let sim = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = sim.parent().expect("the workspace is above");
    let git = |args: &[&str]| Command::new("git").current_dir(root).args(args).output();
    if !git(&["rev-parse", "--is-inside-work-tree"]).is_ok_and(|output| output.status.success()) {
        println!("skipped: {} is no git work tree, or there is no git", root.display());
        return;
    }
    let files = std::fs::read_dir(sim.join("faults")).unwrap().map(|file| file.unwrap().path());
    let patches: Vec<_> = files.filter(|file| file.extension().is_some_and(|extension| extension == "patch")).collect();
    assert!(patches.len() >= 3, "{patches:?}");
    for patch in patches {
        let text = std::fs::read_to_string(&patch).unwrap();
        let (head, _) = text.split_once("\ndiff --git ").unwrap();
        let has = |part: &str| head.lines().any(|line| line.starts_with(part));
        assert!(has("Fault: ") && has("Removes: "), "{} does not say what it is", patch.display());
        // Found by a search, or by scenarios of its own.
        assert!(has("Checker: ") != has("Scenarios: "), "{} does not say who finds it", patch.display());
        let checked = git(&["apply", "--check", &patch.to_string_lossy()]).unwrap();
        let why = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{} does not apply any more; write it anew: {why}", patch.display());
    }
}
