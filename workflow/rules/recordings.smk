rule recordings:
    input:
        plan.recordings_outputs(),
    message:
        "Sweep tables of all cells."


rule ingest_recordings:
    input:
        lambda wildcards: plan.existing_recordings(wildcards.cell),
    output:
        f"{RESULTS}/recordings/{{cell}}.parquet",
        f"{RESULTS}/recordings/exclusions/{{cell}}.parquet",
    log:
        f"{LOGS}/ingest_recordings/{{cell}}.log",
    benchmark:
        f"{LOGS}/ingest_recordings/{{cell}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("ingest_recordings", wildcards.cell),
        code=plan.code["ingest_recordings"],
    message:
        "Read the recordings of {wildcards.cell}, find the stimuli, check the quality."
    shell:
        "ephysflow ingest-recordings --plan {resources.plan:q} --item {wildcards.cell:q} > {log:q} 2>&1"
