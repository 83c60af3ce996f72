//! Pickles of Python, without running code from them.

use std::collections::HashMap;

/// A value of a pickle. Compound values are the numbers of their parts in [`Pickle`]: a value that is repeated is held
/// once, and no depth of nesting needs a deep stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// What describes no weights: `None`, truth values, floats and bytes.
    Other,
    Integer(i64),
    Text(&'a str),
    /// A class or a function: its module and its name.
    Class(usize),
    /// A list, a tuple or a set: its elements.
    List(usize),
    /// Keys and values in turns.
    Dict(usize),
    /// The object that a call returns: what is called, and the arguments.
    Call(usize),
    /// Something outside of the pickle: its identifier.
    Outside(usize),
}

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    root: Value<'a>,
    parts: Vec<Vec<Value<'a>>>,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle of the protocols 2 to 5. The reason for an error is half a sentence about a file that holds it.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let made = Self { root: Value::Other, parts: Vec::new() };
        let mut machine =
            Machine { rest: bytes, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), made };
        loop {
            let place = bytes.len() - machine.rest.len();
            let failed = || match bytes.get(place) {
                Some(code) => format!("the instruction {code:#04x} at byte {place} of its pickle is wrong"),
                None => "its pickle is cut off".to_owned(),
            };
            // STOP
            if machine.rest.first() == Some(&b'.') {
                machine.made.root = machine.pop().ok_or_else(failed)?;
                return Ok(machine.made);
            }
            machine.step().ok_or_else(failed)?;
        }
    }

    /// The value of the whole pickle.
    pub(super) fn root(&self) -> Value<'a> {
        self.root
    }

    /// The elements of a list or a tuple.
    pub(super) fn list(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::List(number) => self.parts.get(number).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The keys and values of a dict.
    pub(super) fn entries(&self, value: Value<'a>) -> Option<&[[Value<'a>; 2]]> {
        match value {
            Value::Dict(number) => self.parts.get(number).map(|parts| parts.as_chunks().0),
            _ => None,
        }
    }

    /// The module and the name of a class or a function.
    pub(super) fn class(&self, value: Value<'a>) -> Option<(&'a str, &'a str)> {
        match value {
            Value::Class(number) => match self.parts.get(number)?[..] {
                [Value::Text(module), Value::Text(name)] => Some((module, name)),
                _ => None,
            },
            _ => None,
        }
    }

    /// What was called for an object, and the arguments.
    pub(super) fn call(&self, value: Value<'a>) -> Option<(Value<'a>, Value<'a>)> {
        match value {
            Value::Call(number) => match self.parts.get(number)?[..] {
                [callable, arguments] => Some((callable, arguments)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The identifier of something outside of the pickle.
    pub(super) fn outside(&self, value: Value<'a>) -> Option<Value<'a>> {
        match value {
            Value::Outside(number) => self.parts.get(number)?.first().copied(),
            _ => None,
        }
    }

    fn store(&mut self, parts: Vec<Value<'a>>) -> usize {
        self.parts.push(parts);
        self.parts.len() - 1
    }
}

/// Python's stack machine, as far as weights need it.
struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value<'a>>,
    /// The heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Value<'a>>,
    made: Pickle<'a>,
}

impl<'a> Machine<'a> {
    /// Carries out one instruction; `None` if it is unknown or impossible. The comments are its names in Python's
    /// `pickletools`.
    fn step(&mut self) -> Option<()> {
        match self.byte()? {
            // PROTO, FRAME
            0x80 => self.take(1).map(drop),
            0x95 => self.take(8).map(drop),
            // MARK, POP, POP_MARK, DUP
            b'(' => {
                self.marks.push(self.stack.len());
                Some(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.above_mark().map(drop),
            b'2' => self.top().map(|top| self.stack.push(top)),
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => self.number(1).and_then(|key| self.remember(key)),
            b'r' => self.number(4).and_then(|key| self.remember(key)),
            0x94 => self.remember(self.memo.len() as u64),
            // APPEND, SETITEM
            b'a' => self.pop().and_then(|value| self.extend(vec![value])),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(vec![key, value])
            }
            // APPENDS, ADDITEMS, SETITEMS
            b'e' | 0x90 | b'u' => self.above_mark().and_then(|values| self.extend(values)),
            // BUILD: the attributes of an object, which describe no weights of a dict.
            b'b' => self.pop().and(self.top()).map(drop),
            code => {
                let value = self.value(code)?;
                self.stack.push(value);
                Some(())
            }
        }
    }

    /// The value that an instruction puts on the stack.
    fn value(&mut self, code: u8) -> Option<Value<'a>> {
        Some(match code {
            // NONE, NEWTRUE, NEWFALSE
            b'N' | 0x88 | 0x89 => Value::Other,
            // BINFLOAT
            b'G' => self.take(8).map(|_| Value::Other)?,
            // BININT1, BININT2, BININT, LONG1, LONG4
            b'K' => Value::Integer(self.number(1)? as i64),
            b'M' => Value::Integer(self.number(2)? as i64),
            b'J' => self.integer(4)?,
            0x8a => self.number(1).and_then(|length| self.integer(length))?,
            0x8b => self.number(4).and_then(|length| self.integer(length))?,
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' => self.text(1).map(|_| Value::Other)?,
            b'B' => self.text(4).map(|_| Value::Other)?,
            0x8e | 0x96 => self.text(8).map(|_| Value::Other)?,
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let names = vec![self.line()?, self.line()?];
                Value::Class(self.made.store(names))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                Value::Class(self.made.store(vec![module, name]))
            }
            // EMPTY_TUPLE, EMPTY_LIST, EMPTY_SET
            b')' | b']' | 0x8f => Value::List(self.made.store(Vec::new())),
            // TUPLE1, TUPLE2, TUPLE3
            0x85..=0x87 => {
                let elements = self.above(self.stack.len().checked_sub(usize::from(code - 0x84))?)?;
                Value::List(self.made.store(elements))
            }
            // TUPLE, LIST, FROZENSET
            b't' | b'l' | 0x91 => {
                let elements = self.above_mark()?;
                Value::List(self.made.store(elements))
            }
            // EMPTY_DICT, DICT
            b'}' => Value::Dict(self.made.store(Vec::new())),
            b'd' => {
                let entries = self.above_mark().filter(|entries| entries.len().is_multiple_of(2))?;
                Value::Dict(self.made.store(entries))
            }
            // REDUCE, NEWOBJ, NEWOBJ_EX
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                match self.made.class(callable) {
                    Some(("collections", "OrderedDict" | "defaultdict")) => {
                        Value::Dict(self.made.store(Vec::new()))
                    }
                    _ => Value::Call(self.made.store(vec![callable, arguments])),
                }
            }
            0x92 => {
                let (_, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                Value::Call(self.made.store(vec![callable, arguments]))
            }
            // BINPERSID
            b'Q' => {
                let identifier = self.pop()?;
                Value::Outside(self.made.store(vec![identifier]))
            }
            // BINGET, LONG_BINGET
            b'h' => self.number(1).and_then(|key| self.memo.get(&key).copied())?,
            b'j' => self.number(4).and_then(|key| self.memo.get(&key).copied())?,
            _ => return None,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    /// A number of at most 8 bytes, without a sign.
    fn number(&mut self, length: u64) -> Option<u64> {
        Some(self.take(length)?.iter().rev().fold(0, |value, &byte| (value << 8) | u64::from(byte)))
    }

    /// A number with a sign. Nothing of a tensor needs more than 8 bytes.
    fn integer(&mut self, length: u64) -> Option<Value<'a>> {
        let bytes = self.take(length)?;
        let mut eight = [if bytes.last().is_some_and(|&byte| byte > 127) { 255 } else { 0 }; 8];
        match eight.get_mut(..bytes.len()) {
            Some(own) => own.copy_from_slice(bytes),
            None => return Some(Value::Other),
        }
        Some(Value::Integer(i64::from_le_bytes(eight)))
    }

    /// A text, after its length in this many bytes.
    fn text(&mut self, length: u64) -> Option<Value<'a>> {
        let length = self.number(length)?;
        let bytes = self.take(length)?;
        Some(std::str::from_utf8(bytes).map_or(Value::Other, Value::Text))
    }

    /// A text up to the end of the line.
    fn line(&mut self) -> Option<Value<'a>> {
        let end = self.rest.iter().position(|&byte| byte == b'\n')?;
        let line = self.take(end as u64)?;
        self.byte()?;
        Some(std::str::from_utf8(line).map_or(Value::Other, Value::Text))
    }

    fn top(&self) -> Option<Value<'a>> {
        self.stack.last().copied()
    }

    /// The topmost value, unless a mark lies above it.
    fn pop(&mut self) -> Option<Value<'a>> {
        let is_above = self.stack.len() > self.marks.last().copied().unwrap_or(0);
        if is_above { self.stack.pop() } else { None }
    }

    /// The values above a height of the stack, unless a mark lies among them.
    fn above(&mut self, height: usize) -> Option<Vec<Value<'a>>> {
        let is_above = height >= self.marks.last().copied().unwrap_or(0);
        if is_above { Some(self.stack.drain(height..).collect()) } else { None }
    }

    /// The values above the last mark.
    fn above_mark(&mut self) -> Option<Vec<Value<'a>>> {
        let height = self.marks.pop()?;
        self.above(height)
    }

    fn remember(&mut self, key: u64) -> Option<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Some(())
    }

    /// Adds elements to the list on top of the stack, or keys and values to a dict. Those of other objects are left
    /// out.
    fn extend(&mut self, values: Vec<Value<'a>>) -> Option<()> {
        match self.top()? {
            Value::Dict(_) if !values.len().is_multiple_of(2) => None,
            Value::List(number) | Value::Dict(number) => {
                self.made.parts.get_mut(number)?.extend(values);
                Some(())
            }
            _ => Some(()),
        }
    }
}
