#!/usr/bin/env bash
# Deploy to an environment. deploy.yml runs this; a person with the rights can run it by hand.
#
#   infrastructure/deploy.sh plan ENVIRONMENT              show what would change; reads only
#   infrastructure/deploy.sh images ENVIRONMENT VERSION    find the images of VERSION, or push build/images/*.tar
#   infrastructure/deploy.sh tables ENVIRONMENT            apply the tables and views, and check that they are this release's
#   infrastructure/deploy.sh update ENVIRONMENT            the same, and then apply; the job is updated in place
#   infrastructure/deploy.sh drain ENVIRONMENT             the same, and then apply; the job is drained, then started again
#
# Tables come first: a job that writes columns which a table lacks has its rows refused, for minutes after they are added.
set -euo pipefail

action=${1:?ACTION: plan, images, tables, update or drain} environment=${2:?ENVIRONMENT: staging or production}
root=$(cd "$(dirname "$0")/.." && pwd)
images=$root/build/images.tfvars.json
subscription=account-changes-rescoring
cd "$root/infrastructure"

case $action in
  plan | images | tables | update | drain) ;;
  *)
    echo "deploy: $action is not one of plan, images, tables, update, drain" >&2
    exit 2
    ;;
esac

export TF_IN_AUTOMATION=1 TF_INPUT=0
terraform init -backend-config="environments/$environment.gcs.tfbackend" -reconfigure >/dev/null
mkdir -p "$(dirname "$images")"

reference() { # target: find it under the version's tag, or push its archive; print it by digest
  local name=$registry/$1 archive=$root/build/images/$1.tar digest
  # The first image of a version is kept: tags are immutable, and a second build can have other bytes.
  if ! digest=$(skopeo inspect --format '{{.Digest}}' "docker://$name:$version" 2>/dev/null); then
    skopeo copy --quiet --preserve-digests --digestfile "$archive.digest" \
      "oci-archive:$archive" "docker://$name:$version" >&2
    digest=$(<"$archive.digest")
  fi
  echo "$name@$digest"
}

copy_to_standby() { # images by digest: a region that is down can't give them to a job in the other one
  local standby image name
  standby=$(terraform output -json standby_images | jq --raw-output '. // empty')
  [[ -n $standby ]] || return 0
  gcloud auth print-access-token | skopeo login --username oauth2accesstoken --password-stdin "${standby%%/*}"
  for image in "$@"; do
    name=${image##*/} name=${name%@*}
    if ! skopeo inspect "docker://$standby/$name:$version" >/dev/null 2>&1; then
      skopeo copy --quiet --preserve-digests "docker://$image" "docker://$standby/$name:$version"
    fi
  done
}

apply() {
  terraform apply -auto-approve -var-file="environments/$environment.tfvars" -var-file="$images" "$@"
}

value_of() { # an expression in Terraform's language; print its value as JSON, a text as text
  terraform console -var-file="environments/$environment.tfvars" -var-file="$images" <<<"jsonencode($1)" |
    jq --raw-output 'fromjson'
}

keep_running_images() {
  terraform output -json running_images | jq '{images: .}' >"$images"
}

apply_tables() { # and the datasets that they are in; then compare them with the code, as the job's release has it
  apply -target=google_bigquery_table.of -target=google_bigquery_table.view
  "$root/.venv/bin/rescore" doctor --only-tables --project "$(value_of var.project_id)"
}

dataflow() { # METHOD PATH [BODY]; print the answer
  gcloud auth print-access-token | sed 's/^/Authorization: Bearer /' |
    curl --silent --show-error --fail-with-body --retry 3 --max-time 60 --request "$1" --header @- \
      --header 'Content-Type: application/json' ${3:+--data "$3"} "https://dataflow.googleapis.com/v1b3/$2"
}

# Ask Dataflow whether this release can replace the running job, without replacing it. Terraform would find out as well, but
# only after it has changed everything else.
validate_update() {
  local place job_id state attempt
  if [[ $(terraform output -json job_id) == null ]]; then
    echo "deploy: no job runs yet: there is no update to validate" >&2
    return
  fi
  apply -target='google_storage_bucket_object.template[0]'
  place=$(value_of '"projects/${var.project_id}/locations/${var.region}"')
  job_id=$(dataflow POST "$place/flexTemplates:launch" "$(value_of local.validation)" | jq --exit-status --raw-output .job.id)
  # The answer is the state of a job that never gets workers: done if its graph fits, else failed.
  for ((attempt = 0; attempt < ${VALIDATION_ATTEMPTS:-90}; attempt++)); do
    state=$(dataflow GET "$place/jobs/$job_id" | jq --raw-output '.currentState // "no state"')
    case $state in
      JOB_STATE_DONE) return ;;
      JOB_STATE_FAILED | JOB_STATE_CANCELLED)
        echo "deploy: Dataflow refuses to replace the job ($state): the log of job $job_id says why. Add renamed steps to" \
          "transform_name_mapping, or deploy with drain" >&2
        return 1
        ;;
      JOB_STATE_RUNNING)
        echo "deploy: job $job_id runs: Dataflow has replaced the job instead of validating its graph only" >&2
        return 1
        ;;
    esac
    sleep "${VALIDATION_SECONDS:-10}"
  done
  echo "deploy: Dataflow has not validated job $job_id in time ($state): look at it, and deploy again" >&2
  return 1
}

snapshot() { # of what is not acknowledged: after a drain that goes wrong, a seek to it delivers that again
  local project name
  project=$(value_of var.project_id)
  name=$subscription-$(date -u +%Y%m%dt%H%M%S)
  gcloud pubsub snapshots create "$name" --subscription "$subscription" --project "$project" >&2
  echo "deploy: if the drain loses changes: rescore recover --to-snapshot $name --project=$project" >&2
}

case $action in
  plan)
    keep_running_images
    terraform plan -lock=false -var-file="environments/$environment.tfvars" -var-file="$images"
    ;;
  images)
    version=${3:?VERSION: the commit of the images}
    registry=$(terraform output -raw images)
    gcloud auth print-access-token | skopeo login --username oauth2accesstoken --password-stdin "${registry%%/*}"
    launcher=$(reference launcher)
    worker=$(reference worker)
    copy_to_standby "$launcher" "$worker" >&2
    jq --null-input --arg launcher "$launcher" --arg worker "$worker" \
      '{images: {launcher: $launcher, worker: $worker}}' | tee "$images"
    ;;
  tables)
    keep_running_images
    apply_tables
    ;;
  update)
    apply_tables
    validate_update
    apply
    ;;
  drain)
    apply_tables
    snapshot
    apply -replace='google_dataflow_flex_template_job.rescoring[0]'
    ;;
esac
