// Package clienttest tests the clients of the example API in their languages: that of JavaScript
// in clients/js with Node.js and the TypeScript compiler, and that of Python in clients/python. It
// also points the SDKs of other vendors at the same service: they must understand its errors, and
// retry as the service asks.
//
// It is a separate module because it needs npm packages.
package clienttest
