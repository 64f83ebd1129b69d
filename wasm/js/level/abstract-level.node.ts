// What is used of `abstract-level`, for bundlers that make one module of a program for Node: as it is, it asks for a `require` there.

export { AbstractIterator, AbstractKeyIterator, AbstractLevel, AbstractSnapshot, AbstractValueIterator } from 'abstract-level'
