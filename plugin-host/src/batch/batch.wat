;; What is put beside a guest's own code so that one call hands over a whole response. It reads the one block that the
;; host wrote (see batch/mod.rs) from a memory of its own, asks the guest's allocator for the places that the canonical
;; ABI wants, in its order, and copies; then it calls, and copies the result back.
;;
;; Lines that end with a kind belong to that kind alone.
(module
  (import "guest" "memory" (memory $guest 0))
  (import "guest" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
  (import "guest" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32))) ;; extract
  (import "guest" "call" (func $call (param i64 i32 i32 i32 i32 f64 i32 i32) (result i32))) ;; check
  (import "guest" "done" (func $done (param i32)))
  ;; The block from 64 on, at most to 512 KiB; the result from there.
  (memory $own (export "memory") 33 33)

  (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 64)

  (func $copy (param $from i32) (param $len i32) (result i32)
    (local $to i32)
    (local.set $to (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $len)))
    (memory.copy $guest $own (local.get $to) (local.get $from) (local.get $len))
    local.get $to)

  (func (export "call") (param $block i32) (param $block_len i32) (result i32) ;; extract
  (func (export "call") (param $block i32) (param $block_len i32) (param $status i64) (param $ms f64) (result i32) ;; check
    (local $count i32) (local $body i32) (local $body_len i32) (local $config i32) (local $config_len i32)
    (local $list i32) (local $item i32) (local $end i32) (local $size i32) (local $from i32) (local $len i32)
    (local $ret i32) (local $at i32)
    (local.set $count (i32.load $own (i32.const 64)))
    (local.set $body_len (i32.load $own (i32.const 68)))
    (local.set $config_len (i32.load $own (i32.const 72)))
    (local.set $size (i32.const 76))
    (local.set $from (i32.add (i32.const 76) (i32.shl (local.get $count) (i32.const 3))))

    (local.set $body (call $copy (local.get $from) (local.get $body_len)))
    (local.set $from (i32.add (local.get $from) (local.get $body_len)))

    (local.set $list
      (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.shl (local.get $count) (i32.const 4))))
    (local.set $item (local.get $list))
    (local.set $end (i32.add (local.get $list) (i32.shl (local.get $count) (i32.const 4))))
    (block $copied (loop $next
      (br_if $copied (i32.eq (local.get $item) (local.get $end)))
      (local.set $len (i32.load $own (local.get $size)))
      (i32.store $guest (local.get $item) (call $copy (local.get $from) (local.get $len)))
      (i32.store $guest offset=4 (local.get $item) (local.get $len))
      (local.set $from (i32.add (local.get $from) (local.get $len)))
      (local.set $size (i32.add (local.get $size) (i32.const 4)))
      (local.set $item (i32.add (local.get $item) (i32.const 8)))
      (br $next)))

    (local.set $config (call $copy (local.get $from) (local.get $config_len)))

    (local.set $ret (call $call
      (local.get $status) ;; check
      (local.get $body) (local.get $body_len) (local.get $list) (local.get $count)
      (local.get $ms) ;; check
      (local.get $config) (local.get $config_len)))

    ;; What cannot be a result is handed on as something that the host refuses with the same words.
    (if (i32.and (local.get $ret) (i32.const 3)) (then (return (local.get $ret))))
    (if (i64.gt_u
          (i64.add (i64.extend_i32_u (local.get $ret)) (i64.const 12))
          (i64.shl (i64.extend_i32_u (memory.size $guest)) (i64.const 16)))
      (then (return (i32.const -4))))
    (memory.copy $own $guest (i32.const 524288) (local.get $ret) (i32.const 12))
    (if (i32.eq (i32.load8_u $own (i32.const 524288)) (i32.const 1)) (then ;; extract
    (if (i32.const 1) (then ;; check
      (local.set $at (i32.load $own (i32.const 524292)))
      (local.set $len (i32.load $own (i32.const 524296)))
      (if (i64.gt_u
            (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $len)))
            (i64.shl (i64.extend_i32_u (memory.size $guest)) (i64.const 16)))
        (then (i32.store $own (i32.const 524292) (i32.const -1)))
        (else
          ;; The host refuses more than 1 MiB; one byte more is as good as all.
          (if (i32.gt_u (local.get $len) (i32.const 1048577)) (then
            (local.set $len (i32.const 1048577))
            (i32.store $own (i32.const 524296) (local.get $len))))
          (memory.copy $own $guest (i32.const 524304) (local.get $at) (local.get $len))
          (i32.store $own (i32.const 524292) (i32.const 524304))))))
    (call $done (local.get $ret))
    i32.const 524288))
