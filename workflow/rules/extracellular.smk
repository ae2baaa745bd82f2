# Only the embedded example makes its own circuit; for one's own data this rule does not exist.
if plan.example_extracellular():

    rule example_extracellular:
        output:
            plan.example_extracellular(),
        log:
            f"{LOGS}/example_extracellular.log",
        benchmark:
            f"{LOGS}/example_extracellular.benchmark.tsv"
        conda:
            "../../envs/ephysflow.yaml"
        resources:
            plan=str(plan_file),
            mem_mb=1000,
            runtime=10,
        params:
            item=plan.settings("example_extracellular"),
            code=plan.code["example_extracellular"],
        message:
            "Write the embedded example's column of cells and its compartment report."
        shell:
            "ephysflow example-extracellular --plan {resources.plan:q} > {log:q} 2>&1"


rule extracellular:
    input:
        plan.extracellular_outputs(),
    message:
        "Segment positions and electrode coefficients of all circuits."


rule segment_positions:
    input:
        lambda wildcards: plan.circuits[wildcards.circuit].files,
    output:
        f"{RESULTS}/extracellular/{{circuit}}/positions/{{chunk}}.h5",
        f"{RESULTS}/extracellular/{{circuit}}/positions/{{chunk}}.exclusions.parquet",
    log:
        f"{LOGS}/segment_positions/{{circuit}}/{{chunk}}.log",
    benchmark:
        f"{LOGS}/segment_positions/{{circuit}}/{{chunk}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=60,
    params:
        item=lambda wildcards: plan.settings("segment_positions", *wildcards),
        code=plan.code["segment_positions"],
    message:
        "Find where the compartments are ({wildcards.circuit}, chunk {wildcards.chunk})."
    shell:
        "ephysflow segment-positions --plan {resources.plan:q} --item {wildcards.circuit:q} {wildcards.chunk:q}"
        " > {log:q} 2>&1"


# `python -m mpi4py` ends all ranks when one fails; profiles set mpi and tasks where mpiexec is not the launcher.
rule electrode_weights:
    input:
        lambda wildcards: plan.circuits[wildcards.circuit].weights_inputs(
            wildcards.weights
        ),
    output:
        f"{RESULTS}/extracellular/{{circuit}}/{{weights}}.h5",
    log:
        f"{LOGS}/electrode_weights/{{circuit}}/{{weights}}.log",
    benchmark:
        f"{LOGS}/electrode_weights/{{circuit}}/{{weights}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    threads: lambda wildcards: plan.circuits[wildcards.circuit].weights[wildcards.weights].ranks
    resources:
        plan=str(plan_file),
        mpi="mpiexec",
        tasks=lambda wildcards: plan.circuits[wildcards.circuit]
        .weights[wildcards.weights]
        .ranks,
        buffer_mb=lambda wildcards: plan.circuits[wildcards.circuit]
        .weights[wildcards.weights]
        .buffer_mb,
        mem_mb=lambda wildcards: plan.circuits[wildcards.circuit].weights_memory(
            wildcards.weights
        ),
        runtime=120,
    params:
        item=lambda wildcards: plan.settings("electrode_weights", *wildcards),
        code=plan.code["electrode_weights"],
    message:
        "Compute the coefficients of electrodes ({wildcards.circuit}, {wildcards.weights})."
    shell:
        "{resources.mpi} -n {resources.tasks} python -m mpi4py -m ephysflow electrode-weights"
        " --plan {resources.plan:q} --item {wildcards.circuit:q} {wildcards.weights:q}"
        " --expected-ranks {resources.tasks} --buffer-mb {resources.buffer_mb} > {log:q} 2>&1"


rule plot_weights:
    input:
        lambda wildcards: plan.circuits[wildcards.circuit].plot_inputs(
            wildcards.weights
        ),
    output:
        report(
            f"{RESULTS}/plots/extracellular/{{circuit}}/{{weights}}.pdf",
            caption="../report/weights.rst",
            category="Electrodes",
            subcategory="{circuit}",
        ),
    log:
        f"{LOGS}/plot_weights/{{circuit}}/{{weights}}.log",
    benchmark:
        f"{LOGS}/plot_weights/{{circuit}}/{{weights}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("plot_weights", *wildcards),
        code=plan.code["plot_weights"],
    message:
        "Draw probe, somata and coefficients ({wildcards.circuit}, {wildcards.weights})."
    shell:
        "ephysflow plot-weights --plan {resources.plan:q} --item {wildcards.circuit:q} {wildcards.weights:q}"
        " > {log:q} 2>&1"
