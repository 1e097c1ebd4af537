//! What the report of a target should say besides.

/// So many are kept.
const MOST: usize = 16;

/// Remarks, each once.
#[derive(Debug, Default)]
pub(super) struct Remarks(Vec<String>);

impl Remarks {
    /// Keeps one, unless it is known or there are many.
    pub(super) fn add(&mut self, text: &str) {
        if self.0.len() < MOST && !self.0.iter().any(|known| known == text) {
            self.0.push(text.to_owned());
        }
    }

    /// That a request was sent again.
    pub(super) fn again(&mut self, what: &str, failure: &super::failure::Failure) {
        self.add(&format!("{what} was sent again: {failure}"));
    }

    /// That a file is so many objects, when it is not one.
    pub(super) fn objects(&mut self, name: &str, count: usize) {
        if count > 1 {
            self.add(&format!(
                "{name} is {count} objects, {name} and {name}.2 to {name}.{count}: cat joins them"
            ));
        }
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<String> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_kept_once_and_not_without_end() {
        let mut remarks = Remarks::default();
        for number in 0..100 {
            remarks.add(&number.to_string());
            remarks.add("0");
            remarks.objects("a", 1);
        }
        assert_eq!(remarks.list().len(), MOST);
    }
}
