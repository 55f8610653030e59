# One plan on several machines of a Nomad cluster: a segment an allocation.
#
#   nomad job run -var segments=4 -var plan="$(cat plan.yaml)" -var start_at="$(($(date +%s) + 60))" deploy/nomad.hcl
#
# Results are in each allocation's log: nomad alloc logs ALLOC > results/INDEX.hlog
variable "segments" {
  type    = number
  default = 2
}

variable "plan" {
  type = string
}

variable "start_at" {
  type = string
}

variable "image" {
  type    = string
  default = "loadr-fast:0.1.0"
}

variable "cores" {
  type    = number
  default = 4
}

job "loadr-fast" {
  type = "batch"

  group "segments" {
    count = var.segments

    # A segment that is started again would make its part of the load a second time.
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }

    # One to a machine.
    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    task "loadr-fast" {
      driver = "docker"

      config {
        image        = var.image
        network_mode = "host"
        # Path of the profile on the client, which allows io_uring.
        security_opt = ["seccomp=/etc/nomad.d/loadr-fast-seccomp.json"]
        cap_drop     = ["ALL"]
        args = [
          "run", "--quiet", "--start-at", var.start_at, "--histograms", "/dev/stdout", "/local/plan.yaml",
        ]
      }

      env {
        # Nomad tells each allocation its index, and nobody how many there are.
        LOADR_SEGMENTS = var.segments
        LOADR_LAUNCH   = "${NOMAD_JOB_ID}/${var.start_at}"
      }

      template {
        data        = var.plan
        destination = "local/plan.yaml"
        # The plan has placeholders of its own.
        left_delimiter  = "[[nomad:"
        right_delimiter = ":]]"
      }

      # Whole cores of its own.
      resources {
        cores  = var.cores
        memory = 2048
      }
    }
  }
}
