// Package frameworks serves one small API with the routers and frameworks that Go services
// use. Each file, such as chi.go, has one function that returns the API as an http.Handler:
// copy from the file of your framework. The business code is in service.go and the Stack in
// stack.go. They are the same for all of them.
//
// frameworks_test.go lists, for each framework, what does not work and why. cases_test.go has the
// cases that hold with all the others.
package frameworks
