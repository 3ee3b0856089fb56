package tollgate_test

import (
	"context"
	"fmt"
	"testing"

	"tollgate"
)

// BenchmarkAuthrep measures whole calls against a live node on this machine: one after the other, by many goroutines,
// and in batches (of which an operation is one item).
//
//	NODE_BINARY=../../target/release/tollgate go test -run '^$' -bench Authrep -benchmem
func BenchmarkAuthrep(b *testing.B) {
	n := startNode(b)
	n.prepare(1<<60, "k")
	client := n.client(tollgate.Config{})
	ctx := context.Background()
	if err := client.Bind(ctx, tollgate.App{UserKey: "k"}, "hits"); err != nil {
		b.Fatal(err)
	}
	b.Run("alone", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			if d, err := client.Authrep(ctx, hit("k")); err != nil || !d.Allowed {
				b.Fatal(d, err)
			}
		}
	})
	for _, goroutines := range []int{16, 256} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			b.SetParallelism(goroutines / 2) // for each of two processors
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if d, err := client.Authrep(ctx, hit("k")); err != nil || !d.Allowed {
						b.Error(d, err)
						return
					}
				}
			})
		})
	}
	b.Run("batch", func(b *testing.B) {
		items := make([]tollgate.Item, 500)
		for i := range items {
			items[i] = tollgate.Item{Do: tollgate.OpAuthrep, Call: hit("k")}
		}
		for left := b.N; left > 0; left -= len(items) {
			if left < len(items) {
				items = items[:left]
			}
			if _, err := client.Batch(ctx, items, tollgate.BatchOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
