// FerretDB with its SQLite handler: a server that speaks MongoDB's protocol, for tests.
// It prints its URL once it listens, and ends when its standard input does.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	address, directory := os.Args[1], os.Args[2]
	server, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{TCP: address},
		Handler:  "sqlite",
		// Tests kill the process, never the machine.
		SQLiteURL: "file:" + directory + "/?_pragma=synchronous(off)",
	})
	if err != nil {
		log.Fatal(err)
	}
	context, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	fmt.Println(server.MongoDBURI())
	if err := server.Run(context); err != nil && context.Err() == nil {
		log.Fatal(err)
	}
}
