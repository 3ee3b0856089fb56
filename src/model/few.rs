//! A list that is empty or short in nearly every record.

use std::fmt;
use std::ops::Deref;

/// A list that takes one word where there is nothing in it, and no room for more than is in it: with a million records
/// that is a third of what they take.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::box_collection, reason = "one word instead of three, where most have none")]
pub struct Few<T>(Option<Box<Vec<T>>>);

impl<T> Few<T> {
    /// Puts an item at the end.
    pub fn push(&mut self, item: T) {
        let items = self.0.get_or_insert_default();
        items.reserve_exact(1);
        items.push(item);
    }

    /// Keeps the items that `is_kept` picks.
    pub fn retain(&mut self, is_kept: impl FnMut(&T) -> bool) {
        let mut items = std::mem::take(self).into_vec();
        items.retain(is_kept);
        *self = items.into();
    }

    /// Takes all items out.
    pub fn clear(&mut self) {
        self.0 = None;
    }

    fn into_vec(self) -> Vec<T> {
        self.0.map_or_else(Vec::new, |items| *items)
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few(None)
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_ref().map_or(&[], |items| items)
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut items: Vec<T>) -> Self {
        items.shrink_to_fit();
        Few((!items.is_empty()).then(|| Box::new(items)))
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Vec::from_iter(items).into()
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&**self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_like_a_list_and_none_are_equal_however_they_came_to_be_none() {
        let mut few = Few::default();
        assert!(few.is_empty());
        for item in 1..=3 {
            few.push(item);
        }
        few.retain(|item| *item != 2);
        assert_eq!((&*few, few.contains(&3)), (&[1, 3][..], true));
        assert_eq!(few, Few::from(vec![1, 3]));
        few.retain(|_| false);
        assert_eq!(few, Few::default());
        assert_eq!(few, [].into_iter().collect());
        assert_eq!(size_of::<Few<String>>(), size_of::<usize>());
    }
}
