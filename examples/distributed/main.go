// Command distributed is a service that runs in two processes and keeps its limits and its
// idempotency keys in Redis. It starts a redis-server, starts itself twice as the service, and
// calls it: more often than the limit allows, with a lost reply, and while one of the processes is
// killed. The session prints what happens and checks it. It needs redis-server and redis-cli on
// the PATH, which "make deps" installs.
//
//	go run .                            # in this folder
//	go run -C examples/distributed .    # at the root of the repository
//
// Copy from service.go. The other files are the session.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("distributed: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	run := func() error { return session(ctx, os.Stdout) }
	if len(os.Args) > 1 && os.Args[1] == serverCommand { // the session has started this process
		run = func() error { return runServer(ctx, os.Args[2:], os.Stdin, os.Stdout) }
	}
	err := run()
	stop()
	if err != nil {
		log.Fatal(err)
	}
}
