//! Writes a module so that compression finds more in it, without changing what it does.
//!
//! - Functions with the same code become one.
//! - Functions that resemble each other lie beside each other: what repeats is named by how far back it was.
//! - Loads and stores all claim the alignment natural to them. The claim is a hint, which engines for browsers ignore, and that
//!   code for bytes and code for numbers differ in it is all that it adds.

use std::collections::HashMap;
use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{CodeSection, FunctionSection, MemArg, Module};
use wasmparser::{CodeSectionReader, FunctionBody, FunctionSectionReader, Parser, Payload, TypeRef};

/// Why a module cannot be packed.
pub(crate) type Error = reencode::Error<Infallible>;

/// Returns `wasm` written anew; the same bytes for the same bytes.
///
/// # Errors
///
/// Fails for what is no module.
pub(crate) fn pack(wasm: &[u8]) -> Result<Vec<u8>, Error> {
    let mut imported = 0;
    let mut types = Vec::new();
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                }
            }
            Payload::FunctionSection(functions) => types = functions.into_iter().collect::<Result<_, _>>()?,
            Payload::CodeSectionEntry(body) => bodies.push(body),
            _ => {}
        }
    }
    let mut packer = Packer::new(imported, types);
    let codes = packer.merge_copies(&bodies)?;
    packer.place(in_likeness(&codes));
    packer.codes = packer.encode(&bodies, &packer.order.clone())?;
    let mut module = Module::new();
    packer.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(module.finish())
}

/// Functions are numbered as in the module that is read, without the imported ones.
struct Packer {
    /// Functions that the module imports; they keep their indexes.
    imported: u32,
    /// The type of each function.
    types: Vec<u32>,
    /// The function that stands for each: itself, or one with the same code.
    stand_ins: Vec<usize>,
    /// The index that each function has in what is written.
    indexes: Vec<u32>,
    /// What is written: functions in their order, and their code.
    order: Vec<usize>,
    codes: Vec<Vec<u8>>,
}

impl Packer {
    fn new(imported: u32, types: Vec<u32>) -> Self {
        let count = types.len();
        let indexes = (imported..).take(count).collect();
        Self {
            imported,
            types,
            stand_ins: (0..count).collect(),
            indexes,
            order: Vec::new(),
            codes: Vec::new(),
        }
    }

    /// Finds functions with the same code, until those that call them have no copies either; returns the code of each that is left.
    fn merge_copies(&mut self, bodies: &[FunctionBody<'_>]) -> Result<Vec<(usize, Vec<u8>)>, Error> {
        loop {
            let left: Vec<usize> = (0..bodies.len()).filter(|&at| self.stand_ins[at] == at).collect();
            let codes = self.encode(bodies, &left)?;
            let mut first = HashMap::new();
            let mut merged = HashMap::new();
            for (&at, code) in left.iter().zip(&codes) {
                let same = *first.entry((self.types[at], code)).or_insert(at);
                if same != at {
                    merged.insert(at, same);
                }
            }
            if merged.is_empty() {
                return Ok(left.into_iter().zip(codes).collect());
            }
            for at in 0..bodies.len() {
                if let Some(&same) = merged.get(&self.stand_ins[at]) {
                    self.stand_ins[at] = same;
                }
                self.indexes[at] = self.imported + self.stand_ins[at] as u32;
            }
        }
    }

    /// Numbers the functions that are written.
    fn place(&mut self, order: Vec<usize>) {
        for (index, &at) in (self.imported..).zip(&order) {
            self.indexes[at] = index;
        }
        for at in 0..self.indexes.len() {
            self.indexes[at] = self.indexes[self.stand_ins[at]];
        }
        self.order = order;
    }

    fn encode(&mut self, bodies: &[FunctionBody<'_>], which: &[usize]) -> Result<Vec<Vec<u8>>, Error> {
        which.iter().map(|&at| self.encode_one(&bodies[at])).collect()
    }

    fn encode_one(&mut self, body: &FunctionBody<'_>) -> Result<Vec<u8>, Error> {
        let mut function = self.new_function_with_parsed_locals(body)?;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            function.instruction(&self.parse_instruction(&mut operators)?);
        }
        Ok(function.into_raw_body())
    }
}

impl Reencode for Packer {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error> {
        let own = index.checked_sub(self.imported).and_then(|at| self.indexes.get(at as usize));
        Ok(own.copied().unwrap_or(index))
    }

    fn mem_arg(&mut self, arg: wasmparser::MemArg) -> Result<MemArg, Error> {
        let align = arg.max_align;
        utils::mem_arg(self, wasmparser::MemArg { align, ..arg })
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        _: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        for &at in &self.order {
            functions.function(self.types[at]);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        section: &mut CodeSection,
        _: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        for code in &self.codes {
            section.raw(code);
        }
        Ok(())
    }
}

/// Orders functions, each with its code: behind each comes the one that resembles it most.
fn in_likeness(codes: &[(usize, Vec<u8>)]) -> Vec<usize> {
    let mut by_size: Vec<usize> = (0..codes.len()).collect();
    by_size.sort_by_key(|&at| std::cmp::Reverse(codes[at].1.len()));
    let sketches: Vec<_> = codes.iter().map(|(_, code)| sketch(code)).collect();
    let mut alike: HashMap<(usize, u32), Vec<usize>> = HashMap::new();
    for &at in &by_size {
        for mark in sketches[at].iter().copied().enumerate() {
            alike.entry(mark).or_default().push(at);
        }
    }

    let mut placed = vec![false; codes.len()];
    let mut order = Vec::with_capacity(codes.len());
    let mut largest_left = by_size.into_iter();
    let mut next = largest_left.next();
    let mut shared = vec![0; codes.len()];
    while let Some(current) = next {
        placed[current] = true;
        order.push(codes[current].0);
        let mut seen = Vec::new();
        for mark in sketches[current].iter().copied().enumerate() {
            let others = alike.get_mut(&mark).expect("every mark was entered");
            others.retain(|&at| !placed[at]);
            for &at in others.iter() {
                if shared[at] == 0 {
                    seen.push(at);
                }
                shared[at] += 1;
            }
        }
        let difference = |at: usize| codes[at].1.len().abs_diff(codes[current].1.len());
        next = seen.iter().copied().max_by_key(|&at| (shared[at], std::cmp::Reverse((difference(at), at))));
        next = next.or_else(|| largest_left.find(|&at| !placed[at]));
        seen.into_iter().for_each(|at| shared[at] = 0);
    }
    order
}

/// Returns marks that two pieces of code share in the measure in which they have the same sequences: the least hash of all, by
/// each of some hash functions (Broder, "On the resemblance and containment of documents", 1997).
fn sketch(code: &[u8]) -> [u32; MARKS] {
    let mut least = [u32::MAX; MARKS];
    for sequence in code.windows(SEQUENCE) {
        let word = sequence.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        for (mark, seed) in least.iter_mut().zip(1_u64..) {
            let mixed = (word ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd);
            *mark = (*mark).min(((mixed ^ mixed >> 32).wrapping_mul(0xc4ce_b9fe_1a85_ec53) >> 32) as u32);
        }
    }
    least
}

/// Marks of a sketch.
const MARKS: usize = 32;

/// Bytes of a sequence; with eight the module is 1.7 kB larger.
const SEQUENCE: usize = 4;

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        ConstExpr, ElementSection, Elements, ExportKind, ExportSection, Function, ImportSection,
        MemorySection, MemoryType, RefType, TableSection, TableType, TypeSection, ValType,
    };
    use wasmparser::{Operator, Validator};

    use super::*;

    #[test]
    fn copies_become_one_wherever_they_are_named() {
        let packed = pack(&module()).unwrap();

        Validator::new().validate_all(&packed).unwrap();
        let (mut exports, mut table, mut calls, mut functions) = (HashMap::new(), Vec::new(), Vec::new(), 0);
        for payload in Parser::new(0).parse_all(&packed) {
            match payload.unwrap() {
                Payload::ExportSection(all) => {
                    for export in all.into_iter().map(Result::unwrap) {
                        exports.insert(export.name, export.index);
                    }
                }
                Payload::ElementSection(elements) => {
                    for element in elements.into_iter().map(Result::unwrap) {
                        let wasmparser::ElementItems::Functions(all) = element.items else {
                            panic!("no functions")
                        };
                        table.extend(all.into_iter().map(Result::unwrap));
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    functions += 1;
                    for operator in body.get_operators_reader().unwrap() {
                        match operator.unwrap() {
                            Operator::Call { function_index } => calls.push(function_index),
                            Operator::I32Load { memarg } => assert_eq!(memarg.align, 2),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        // Two that load became one, and so the two that call one of them; a third calls what is imported.
        assert_eq!(functions, 3);
        assert_eq!(exports["load"], exports["load again"]);
        assert_eq!(exports["call"], exports["call again"]);
        assert_eq!(table, [exports["call"], exports["load"], exports["foreign"]]);
        calls.sort_unstable();
        assert_eq!(calls, [0, exports["load"]]);
    }

    #[test]
    fn what_is_packed_stays_as_it_is() {
        let packed = pack(&module()).unwrap();

        assert_eq!(pack(&packed).unwrap(), packed);
    }

    #[test]
    fn what_is_no_module_is_refused() {
        let mut module = module();
        module.truncate(module.len() - 1);

        assert!(pack(&module).is_err());
        assert!(pack(b"no module").is_err());
    }

    /// One imported function, and five others: two that load, differing in their hint, two that call one of these, and one that calls
    /// what is imported.
    fn module() -> Vec<u8> {
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32], [ValType::I32]);
        let mut imports = ImportSection::new();
        imports.import("host", "foreign", wasm_encoder::EntityType::Function(0));
        let mut functions = FunctionSection::new();
        (0..5).for_each(|_| {
            functions.function(0);
        });
        let mut tables = TableSection::new();
        let table = TableType {
            element_type: RefType::FUNCREF,
            minimum: 3,
            maximum: None,
            table64: false,
            shared: false,
        };
        tables.table(table);
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut exports = ExportSection::new();
        for (name, index) in [("load", 1), ("load again", 2), ("call", 3), ("call again", 4), ("foreign", 5)]
        {
            exports.export(name, ExportKind::Func, index);
        }
        let mut elements = ElementSection::new();
        elements.active(None, &ConstExpr::i32_const(0), Elements::Functions([4, 2, 5][..].into()));
        let mut codes = CodeSection::new();
        for align in [0, 2] {
            let mut load = Function::new([]);
            load.instructions().local_get(0).i32_load(MemArg { offset: 8, align, memory_index: 0 }).end();
            codes.function(&load);
        }
        for callee in [1, 2, 0] {
            let mut call = Function::new([]);
            call.instructions().local_get(0).call(callee).end();
            codes.function(&call);
        }
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&tables).section(&memories);
        module.section(&exports).section(&elements).section(&codes);
        module.finish()
    }
}
