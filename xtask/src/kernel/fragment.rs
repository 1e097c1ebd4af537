//! A fragment of a kernel configuration: which of its lines a configuration does not have.

/// Lines of a fragment that a configuration does not have; `=n` there is no line.
pub(super) fn lost<'a>(fragment: &'a str, config: &str) -> Vec<&'a str> {
    let has = |line: &str| match line.strip_suffix("=n") {
        Some(option) => !config.lines().any(|line| {
            line.strip_prefix(option)
                .is_some_and(|rest| rest.starts_with('='))
        }),
        None => config.lines().any(|other| other == line),
    };
    fragment
        .lines()
        .filter(|line| line.starts_with("CONFIG_") && !has(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_effect_are_found() {
        let fragment = "# CONFIG_X=y\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_C=n\nCONFIG_D=n\n";
        let config = "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D=y\nCONFIG_CC=y\n";
        assert_eq!(lost(fragment, config), ["CONFIG_B=m", "CONFIG_D=n"]);
    }

    #[test]
    fn each_line_of_the_fragments_has_a_reason() {
        for fragment in [
            include_str!("../../../kernel-config/x86_64.config"),
            include_str!("../../../kernel-config/arm64.config"),
        ] {
            let mut reason = false;
            for (number, line) in fragment.lines().enumerate() {
                reason = !line.is_empty() && (reason || line.starts_with('#'));
                let option = line.starts_with("CONFIG_");
                assert!(
                    option || line.is_empty() || line.starts_with("# "),
                    "line {}",
                    number + 1
                );
                assert!(
                    !option || reason,
                    "line {} has no reason before it",
                    number + 1
                );
            }
        }
    }
}
