// Command distributed is a service that runs in two processes. It starts itself twice as the
// service, calls it, and kills processes in the middle of writes. The session prints what happens
// and checks it. There are two of them:
//
//	go run .             # orders, with limits and idempotency keys in Redis (docs/REDIS.md)
//	go run . -postgres   # transfers, with idempotency keys in PostgreSQL (docs/POSTGRES.md)
//
// At the root of the repository, use go run -C examples/distributed . instead. The first session
// needs redis-server and redis-cli on the PATH, and the second one the programs of PostgreSQL.
// "make deps" installs both.
//
// Copy from orders.go or transfers.go. The other files are the sessions.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("distributed: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) > 1 && os.Args[1] == serverCommand { // a session has started this process
		return runServer(ctx, os.Args[2:], os.Stdin, os.Stdout)
	}
	postgres := flag.Bool("postgres", false, "run the session with PostgreSQL, and not the one with Redis")
	flag.Parse()
	if *postgres {
		return newTransfersSession(os.Stdout).run(ctx)
	}
	return newOrdersSession(os.Stdout).run(ctx)
}
